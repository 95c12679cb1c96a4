//! What every tokenizer, every source and every build has in common.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use crate::*;

/// A `tokenizer.json` of bytes-as-characters with one merge, `<|endoftext|>` at 300 and 70,000 as
/// the largest token, so that its tokens take four bytes.
pub(crate) fn tokenizer_json() -> String {
    // GPT-2's printable stand-ins: ASCII 33..=126, Latin-1 161..=172 and 174..=255, the rest from 256.
    let mut stand_in = vec![None; 256];
    for byte in (33..=126).chain(161..=172).chain(174..=255_u32) {
        stand_in[byte as usize] = char::from_u32(byte);
    }
    let mut next = 256;
    let mut vocabulary = serde_json::Map::new();
    for (byte, place) in stand_in.into_iter().enumerate() {
        let character = place.or_else(|| {
            next += 1;
            char::from_u32(next - 1)
        });
        vocabulary.insert(character.unwrap().into(), byte.into());
    }
    vocabulary.insert("<|endoftext|>".into(), 300.into());
    vocabulary.insert("th".into(), 70_000.into());
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{
            "id": 300, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true
        }],
        "normalizer": null,
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        },
        "post_processor": null,
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocabulary, "merges": [["t", "h"]]
        }
    })
    .to_string()
}

/// Every tokenizer of the registry, the one from a file included.
fn tokenizers(dir: &Path) -> Vec<AnyTokenizer> {
    let path = dir.join("tokenizer.json");
    fs::write(&path, tokenizer_json()).unwrap();
    AnyTokenizer::all()
        .into_iter()
        .map(|tokenizer| match tokenizer {
            AnyTokenizer::Json(_) => Json { path: path.clone(), eot: None }.into(),
            other => other,
        })
        .collect()
}

pub(crate) fn texts(texts: &[&str]) -> Source {
    let named = |text: &&str| NamedText { name: "text".into(), text: (*text).into() };
    Source::Texts(texts.iter().map(named).collect())
}

pub(crate) fn bytes(val_fraction: f64) -> BuildConfig {
    BuildConfig { tokenizer: Byte {}.into(), val_fraction, ..BuildConfig::default() }
}

pub(crate) fn build(config: &BuildConfig, sources: &[Source]) -> (TempDir, Result<Corpus, Error>) {
    let dir = tempfile::tempdir().unwrap();
    let corpus = config.build(sources, &dir.path().join("out"), IfExists::Refuse, &());
    (dir, corpus)
}

fn read(corpus: &Corpus, tokenizer: &dyn Tokenizer, split: Split) -> Vec<String> {
    let file = corpus.split(split);
    let decode = |document: Document| {
        let mut text = Vec::new();
        let tokens: Vec<u32> = file.tokens(document.tokens).collect();
        tokenizer.decode(&tokens, &mut text).unwrap();
        assert_eq!(text.len() as u64, document.text_bytes);
        assert_eq!(Id::of(&text), document.id);
        String::from_utf8(text).unwrap()
    };
    file.documents().iter().map(decode).collect()
}

#[test]
fn identities_are_distinct_and_separators_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut hashes = Vec::new();
    for settings in tokenizers(dir.path()) {
        let tokenizer = settings.as_dyn().load().unwrap();
        let TokenizerIdentity { name, vocab_size, eot, sha256 } = tokenizer.identity();
        assert_eq!(name, settings.name());
        assert!(eot < vocab_size);
        assert!(!hashes.contains(sha256));
        hashes.push(*sha256);
        let mut tokens = Vec::new();
        tokenizer.encode("<|endoftext|></s>", &mut tokens).unwrap();
        assert!(!tokens.contains(eot), "{name}");
        assert!(matches!(
            tokenizer.decode(&[*vocab_size], &mut Vec::new()),
            Err(Error::Decode { token, .. }) if token == *vocab_size
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn text_comes_back(documents in prop::collection::vec("\\PC{0,40}|[a-z \n]{1,60}|th", 1..20)) {
        let files = tempfile::tempdir().unwrap();
        let borrowed: Vec<&str> = documents.iter().map(String::as_str).collect();
        let mut expected: Vec<&str> = Vec::new();
        for text in borrowed.iter().filter(|text| !text.is_empty()) {
            if !expected.contains(text) {
                expected.push(text);
            }
        }
        for tokenizer in tokenizers(files.path()) {
            let config = BuildConfig {
                tokenizer: tokenizer.clone(),
                val_fraction: 0.3,
                bad_documents: BadDocuments::SkipEmpty,
                ..BuildConfig::default()
            };
            let (_dir, corpus) = build(&config, &[texts(&borrowed)]);
            let corpus = match corpus {
                Err(Error::NoDocuments { .. }) => continue, // all held out, or all empty
                corpus => corpus.unwrap(),
            };
            corpus.verify().unwrap();
            let loaded = tokenizer.as_dyn().load().unwrap();
            let rule = corpus.manifest().split;
            for split in [Split::Train, Split::Val] {
                let expected: Vec<&str> = expected
                    .iter()
                    .copied()
                    .filter(|text| rule.split(Id::of(text.as_bytes())) == split)
                    .collect();
                prop_assert_eq!(read(&corpus, loaded.as_ref(), split), expected);
            }
            let counts = corpus.manifest().read;
            prop_assert_eq!(counts.documents, documents.len() as u64);
            let left_out = counts.empty + counts.duplicates;
            prop_assert_eq!(left_out, (documents.len() - expected.len()) as u64);
        }
    }
}

#[test]
fn every_source_gives_the_same_corpus() {
    let dir = tempfile::tempdir().unwrap();
    let documents = ["first", "zweites Dokument, größer", "3"];
    let (_out, expected) = build(&bytes(0.0), &[texts(&documents)]);
    let expected = expected.unwrap().sha256();

    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    };
    let paths: Vec<PathBuf> = documents
        .iter()
        .enumerate()
        .map(|(number, text)| file(&format!("files/{number}.txt"), text.as_bytes()))
        .collect();
    let lines: String = documents
        .iter()
        .map(|text| serde_json::json!({"id": 1, "text": text}).to_string() + "\n")
        .collect();
    let nano_gpt: Vec<u8> = documents
        .iter()
        .flat_map(|text| text.bytes().map(u16::from).chain([256]))
        .flat_map(u16::to_le_bytes)
        .collect();
    let named = paths.iter().map(|path| NamedFile { name: "a".into(), path: path.clone() });
    let parquet = parquet_file(dir.path(), &documents.map(|text| Some(text.as_bytes())));
    let sources: [Vec<Source>; 6] = [
        vec![Source::Files(named.collect())],
        paths.iter().map(|path| Source::detect(path).unwrap()).collect(),
        vec![Source::detect(dir.path().join("files")).unwrap()],
        vec![Source::detect(file("a.jsonl", lines.as_bytes())).unwrap()],
        vec![Source::detect(file("train.bin", &nano_gpt)).unwrap()],
        vec![Source::detect(parquet).unwrap()],
    ];
    for sources in sources {
        let (_out, corpus) = build(&bytes(0.0), &sources);
        assert_eq!(corpus.unwrap().sha256(), expected, "{sources:?}");
    }
}

/// A file with an integer column and `text`, two rows per row group.
pub(crate) fn parquet_file(dir: &Path, rows: &[Option<&[u8]>]) -> PathBuf {
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;

    let path = dir.join("rows.parquet");
    let schema = "message m { required int64 id; optional binary text (UTF8); }";
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let properties =
        WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let file = fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema.into(), properties.into()).unwrap();
    for rows in rows.chunks(2) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let ids: Vec<i64> = (0..).take(rows.len()).collect();
        column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let levels: Vec<i16> = rows.iter().map(|row| row.is_some().into()).collect();
        let values: Vec<ByteArray> = rows.iter().flatten().map(|row| row.to_vec().into()).collect();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    path
}

/// Enough for several batches, with duplicates, empty and near-duplicate documents.
fn many_texts() -> Vec<NamedText> {
    (0..40_000_u32)
        .map(|n| {
            let text = match n % 100 {
                0 => String::new(),
                1 => "again".into(),
                like @ 2..10 => {
                    let words = (n - like..n - like + 40).map(|word| word.to_string());
                    words.chain([n.to_string()]).collect::<Vec<_>>().join(" ")
                }
                _ => format!("document {} of many", n.wrapping_mul(2_654_435_761)),
            };
            NamedText { name: n.to_string(), text }
        })
        .collect()
}

#[test]
fn the_number_of_threads_does_not_show() {
    let sources = [Source::Texts(many_texts())];
    let config = BuildConfig {
        bad_documents: BadDocuments::SkipEmpty,
        near_duplicates: Some(NearDuplicates { keep: Keep::First, ..NearDuplicates::default() }),
        ..bytes(0.1)
    };
    let manifests: Vec<Manifest> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (_dir, corpus) = pool.install(|| build(&config, &sources));
            corpus.unwrap().manifest().clone()
        })
        .collect();
    assert_eq!(manifests[0], manifests[1]);
    assert_eq!(manifests[0], manifests[2]);
    let manifest = &manifests[0];
    assert_eq!((manifest.read.documents, manifest.read.empty), (40_000, 400));
    assert_eq!(manifest.read.duplicates, 399); // 400 times "again"
    // In each hundred, eight texts share 36 of their 37 or so shingles: seven are dropped.
    let near = manifest.near_duplicates.as_ref().unwrap();
    assert_eq!(near.dropped, 400 * 7);
    assert_eq!(manifest.train.documents + manifest.val.documents, 40_000 - 400 - 399 - 2_800);
    assert_eq!(near.train_clusters, manifest.train.documents);
    assert_eq!((near.val_clusters, near.shared_clusters), (manifest.val.documents, 0));
}

#[test]
fn first_last_and_one_token_documents() {
    let (_dir, corpus) = build(&bytes(0.0), &[texts(&["a", "bcd", "e"])]);
    let corpus = corpus.unwrap();
    let train = corpus.split(Split::Train);
    let [a, b, c, d, e] = *b"abcde".map(u32::from).as_slice() else { unreachable!() };
    assert!(train.tokens(0..8).eq([a, 256, b, c, d, 256, e, 256]));
    let scored = |index| train.scored(index).map(Iterator::collect::<Vec<_>>);
    assert_eq!(scored(0), Some(vec![256, a])); // a virtual separator
    assert_eq!(scored(1), Some(vec![256, b, c, d]));
    assert_eq!(scored(2), Some(vec![256, e]));
    assert_eq!(scored(3), None);
    assert_eq!(train.documents().get(u64::MAX), None);
    let scored: u64 = train.documents().iter().map(|it| it.tokens.end - it.tokens.start).sum();
    assert_eq!(scored + train.documents().len(), train.len()); // sum of T + separators = tokens
    assert!(corpus.split(Split::Val).is_empty());
}

#[test]
fn a_partition_is_complete_and_its_sides_are_ascending() {
    let (_dir, corpus) = build(&bytes(0.0), &[Source::Texts(many_texts()[10..90].to_vec())]);
    let corpus = corpus.unwrap();
    let table = corpus.split(Split::Train).documents();
    let parts = |fraction, seed| Partition { fraction, seed }.documents(table);
    let half = parts(0.5, 1).unwrap();
    assert!(half.prior.is_sorted() && half.certified.is_sorted());
    assert!(half.prior.len() > 20 && half.certified.len() > 20); // 40 of 80, deviation 4.5
    let mut all = [half.prior.clone(), half.certified].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..80));
    assert_ne!(parts(0.5, 2).unwrap().prior, half.prior);
    assert_eq!(parts(0.0, 1).unwrap().prior, [0_u64; 0]);
    assert_eq!(parts(1.0, 1).unwrap().certified, [0_u64; 0]);
    for fraction in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(parts(fraction, 1), Err(Error::Fraction { name: "fraction", .. })));
    }
}

#[test]
fn windows_lie_in_the_concatenation_of_the_chosen_documents() {
    let documents = ["aa", "bb", "cc", "dd", "ee"];
    let (_dir, corpus) = build(&bytes(0.0), &[texts(&documents)]);
    let corpus = corpus.unwrap();
    let train = corpus.split(Split::Train);
    let draw = |sampler: &WindowSampler<'_>, step| {
        let mut window = vec![0; sampler.length()];
        sampler.fill(WindowIndex { step, micro_batch: 2, row: 3 }, &mut window);
        window
    };
    let all: Vec<u32> = train.tokens(0..train.len()).collect();
    let some = [&all[..6], &all[9..12]].concat(); // "aa", "bb", "dd", each with its separator
    for (chosen, expected) in [(&[0, 1, 2, 3, 4][..], all), (&[0, 1, 3], some)] {
        let sampler = WindowSampler::over(train, chosen, 4, 7).unwrap();
        assert_eq!(sampler.tokens(), expected.len() as u64);
        let mut places = std::collections::HashSet::new();
        for step in 0..400 {
            let window = draw(&sampler, step);
            assert_eq!(window, draw(&sampler, step));
            let place = expected.windows(4).position(|candidate| candidate == window);
            places.insert(place.expect("a window of the concatenation"));
        }
        assert_eq!(places.len(), expected.len() - 3); // every place, missed with 12 * (11/12)^400
    }
    let whole = WindowSampler::new(train, 4, 7).unwrap();
    let chosen = WindowSampler::over(train, &[0, 1, 2, 3, 4], 4, 7).unwrap();
    assert_eq!(draw(&whole, 9), draw(&chosen, 9));
    assert_eq!(draw(&WindowSampler::new(train, 15, 7).unwrap(), 0).len(), 15);

    let over = |chosen: &[u64], length| WindowSampler::over(train, chosen, length, 7).map(|_| ());
    assert!(matches!(over(&[4, 5], 1), Err(Error::DocumentNumber { index: 5, documents: 5 })));
    assert!(matches!(over(&[1, 1], 1), Err(Error::DocumentNumber { index: 1, .. })));
    assert!(matches!(over(&[1, 0], 1), Err(Error::DocumentNumber { index: 0, .. })));
    assert!(matches!(over(&[1], 4), Err(Error::WindowTooLong { window: 4, tokens: 3 })));
    assert!(matches!(over(&[], 1), Err(Error::WindowTooLong { window: 1, tokens: 0 })));
    assert!(matches!(over(&[1], 0), Err(Error::Zero { .. })));
}

#[test]
fn a_configuration_survives_toml_like_serde() {
    let json = serde_json::json!({
        "tokenizer": {"kind": "json", "path": "t.json"},
        "near_duplicates": {"keep": "first"},
        "bad_documents": "skip-empty"
    });
    let config: BuildConfig = serde_json::from_value(json).unwrap();
    assert_eq!(config.tokenizer, "t.json".parse().unwrap());
    assert_eq!(
        config.near_duplicates.as_ref().map(|it| (it.keep, it.rows)),
        Some((Keep::First, 8))
    );
    let unknown = serde_json::from_value::<BuildConfig>(serde_json::json!({"vall_fraction": 0.1}));
    assert!(unknown.unwrap_err().to_string().starts_with("unknown field `vall_fraction`"));
}
