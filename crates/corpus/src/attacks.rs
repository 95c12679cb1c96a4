//! Inputs and corpora that are damaged, or lie.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::conformance::{build, bytes, parquet_file, texts, tokenizer_json};
use crate::document_table::{HEADER, record};
use crate::source::Meter;
use crate::*;

const FILES: [&str; 5] =
    ["manifest.json", "train.bin", "train.documents", "val.bin", "val.documents"];

/// Five documents, two of them held out.
fn corpus() -> (TempDir, Corpus) {
    let (dir, corpus) = build(&bytes(0.3), &[texts(&["a", "bc", "def", "ghij", "klmno"])]);
    let corpus = corpus.unwrap();
    assert!(!corpus.split(Split::Val).is_empty());
    (dir, corpus)
}

fn open_and_verify(dir: &Path) -> Result<(), Error> {
    Corpus::open(dir)?.verify()
}

/// Overwrites a file and makes the manifest say that this is how it should be.
fn lie(corpus: &Corpus, change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> Result<(), Error> {
    let dir = corpus.dir();
    let mut tokens = fs::read(dir.join("train.bin")).unwrap();
    let mut documents = fs::read(dir.join("train.documents")).unwrap();
    change(&mut tokens, &mut documents);
    fs::write(dir.join("train.bin"), &tokens).unwrap();
    fs::write(dir.join("train.documents"), &documents).unwrap();
    let mut manifest = corpus.manifest().clone();
    manifest.train.tokens = tokens.len() as u64 / 2;
    manifest.train.documents = (documents.len() as u64 - 16) / 32;
    manifest.train.tokens_sha256 = Sha256Hash::of(&[&tokens]);
    manifest.train.documents_sha256 = Sha256Hash::of(&[&documents]);
    fs::write(dir.join("manifest.json"), manifest.with_hash().to_json()).unwrap();
    open_and_verify(dir)
}

#[test]
fn any_flipped_byte_is_found_and_its_file_named() {
    let (_dir, corpus) = corpus();
    for file in FILES {
        let path = corpus.dir().join(file);
        let original = fs::read(&path).unwrap();
        for place in 0..original.len() {
            let mut flipped = original.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(&path, flipped).unwrap();
            let error = open_and_verify(corpus.dir()).unwrap_err().to_string();
            assert!(error.contains(file), "byte {place} of {file}: {error}");
        }
        fs::write(&path, original).unwrap();
    }
    open_and_verify(corpus.dir()).unwrap();
}

#[test]
fn a_file_cut_grown_or_gone_is_found_on_opening_and_named() {
    let (_dir, corpus) = corpus();
    for file in FILES {
        let path = corpus.dir().join(file);
        let original = fs::read(&path).unwrap();
        let grown = [&original[..], b"\n"].concat();
        for bytes in [&original[..original.len() - 1], &original[..original.len() / 2], b"", &grown]
        {
            fs::write(&path, bytes).unwrap();
            let error = Corpus::open(corpus.dir()).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
        fs::remove_file(&path).unwrap();
        let error = Corpus::open(corpus.dir()).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
        fs::write(&path, original).unwrap();
    }
    fs::write(corpus.dir().join("train.bin"), [0; 7]).unwrap();
    let error = Corpus::open(corpus.dir()).unwrap_err();
    assert!(matches!(error, Error::FileSize { found: 7, .. }), "{error}");
}

#[test]
fn a_foreign_or_future_manifest_is_refused() {
    let (_dir, corpus) = corpus();
    let path = corpus.dir().join("manifest.json");
    let rewrite = |change: fn(&mut Manifest)| {
        let mut manifest = corpus.manifest().clone();
        change(&mut manifest);
        fs::write(&path, manifest.with_hash().to_json()).unwrap();
        Corpus::open(corpus.dir()).unwrap_err()
    };
    let future = rewrite(|manifest| manifest.version = 2);
    assert!(future.to_string().ends_with("manifest.json` has version 2, expected 1"), "{future}");
    let foreign = rewrite(|manifest| manifest.format = "parquet".into());
    assert!(foreign.to_string().contains("its format is `parquet`, expected `sublora-corpus`"));
    assert!(matches!(rewrite(|it| it.train.tokens = u64::MAX), Error::FileSize { .. }));
    assert!(matches!(rewrite(|it| it.val.documents = u64::MAX), Error::FileSize { .. }));
    assert!(matches!(rewrite(|it| it.tokenizer.vocab_size = 70_000), Error::FileSize { .. }));
}

#[test]
fn a_table_that_lies_is_refused_on_opening() {
    let id = Id([0; 16]);
    let replace = |entries: &[u64]| {
        let (_dir, corpus) = corpus();
        let error = lie(&corpus, |tokens, documents| {
            *tokens = [1, 2, 256, 3, 256_u16].map(u16::to_le_bytes).concat();
            *documents = HEADER.to_vec();
            documents.extend(entries.iter().flat_map(|&separator| record(separator, 1, id)));
        });
        error.unwrap_err().to_string()
    };
    for (entries, expected) in [
        (&[2, 5][..], "document 1 of `P`: it ends beyond the token file"),
        (&[2, u64::MAX], "document 1 of `P`: it ends beyond the token file"),
        (&[0, 4], "document 0 of `P`: it holds no token, or ends before it starts"),
        (&[3, 4], "document 1 of `P`: it holds no token, or ends before it starts"),
        (&[3, 1], "document 1 of `P`: it holds no token, or ends before it starts"),
        (&[2], "document 1 of `P`: it is missing: tokens follow the last document"),
        (&[], "document 0 of `P`: it is missing: tokens follow the last document"),
        // In order, but not where the separators are.
        (&[1, 4], "document 0 of `P`: no separator follows it"),
        (&[4], "document 0 of `P`: there is a separator inside it"),
    ] {
        let error = replace(entries);
        let path = error.split('`').nth(1).unwrap();
        assert!(path.ends_with("train.documents"));
        assert_eq!(error.replace(path, "P"), expected);
    }
    let (_dir, corpus) = corpus();
    let header = lie(&corpus, |_, documents| documents[12] = 2);
    assert!(matches!(header, Err(Error::TableHeader { .. })));
}

#[test]
fn what_hashes_cannot_tell_is_found_by_verify() {
    let reason = |change: fn(&mut Vec<u8>, &mut Vec<u8>)| {
        let (_dir, corpus) = corpus();
        match lie(&corpus, change) {
            Err(Error::TableEntry { index, reason, .. }) => (index, reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        reason(|tokens, _| tokens[..2].copy_from_slice(&257_u16.to_le_bytes())),
        (0, "there is a token above the vocabulary in it")
    );
    assert_eq!(reason(|_, documents| documents.copy_within(32..48, 64)), (1, "it occurs twice"));
    assert_eq!(
        reason(|_, documents| documents[24] = 9),
        (3, "the text bytes of all before it are not the manifest's")
    );
    let (_dir, corpus) = corpus();
    let held_out = corpus.split(Split::Val).documents().get(0).unwrap().id;
    let moved = lie(&corpus, |_, documents| documents[32..48].copy_from_slice(&held_out.0));
    let moved = moved.unwrap_err().to_string();
    assert!(moved.ends_with("the split rule puts it on the other side"), "{moved}");
}

#[derive(Default)]
struct Recorder {
    skipped: Mutex<Vec<String>>,
    reports: Mutex<Vec<Counts>>,
    stop: bool,
}

impl Progress for Recorder {
    fn report(&self, so_far: &Counts) -> ControlFlow<()> {
        self.reports.lock().unwrap().push(*so_far);
        if self.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn skipped(&self, document: &BadDocument) {
        self.skipped.lock().unwrap().push(document.to_string());
    }
}

#[test]
fn bad_documents_end_the_build_or_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let lines: &[&[u8]] =
        &[br#"{"text":"good"}"#, br#"{"text":""}"#, br#"{"txt":"a"}"#, b"\xff", br#"{"text":"x"}"#];
    fs::write(&path, lines.join(&b'\n')).unwrap();
    let parquet = parquet_file(dir.path(), &[Some(b"row"), None, Some(b"\xc3\xa9\xc3")]);
    let sources = [Source::JsonLines(path.clone()), Source::Parquet(parquet.clone())];
    let out = dir.path().join("out");
    let run = |bad_documents, progress: &Recorder| {
        let config = BuildConfig { bad_documents, ..bytes(0.0) };
        config.build(&sources, &out, IfExists::Refuse, progress)
    };

    let (path, parquet) = (path.display(), parquet.display());
    let refused = run(BadDocuments::Refuse, &Recorder::default()).unwrap_err();
    assert_eq!(refused.to_string(), format!("line 2 of `{path}`: empty document"));
    let refused = run(BadDocuments::SkipEmpty, &Recorder::default()).unwrap_err();
    assert_eq!(refused.to_string(), format!("line 3 of `{path}`: no `text`"));

    let recorder = Recorder::default();
    let corpus = run(BadDocuments::Skip, &recorder).unwrap();
    let read = ReadCounts { documents: 8, duplicates: 0, empty: 1, bad: 4 };
    assert_eq!(corpus.manifest().read, read);
    assert_eq!(
        recorder.skipped.into_inner().unwrap(),
        [
            format!("line 2 of `{path}`: empty document"),
            format!("line 3 of `{path}`: no `text`"),
            format!("line 4 of `{path}`: invalid UTF-8 at byte 0"),
            format!("row 1 of `{parquet}`: no `text`"),
            format!("row 2 of `{parquet}`: invalid UTF-8 at byte 2"),
        ]
    );
    let last = recorder.reports.into_inner().unwrap().pop().unwrap();
    assert_eq!(last.bytes_read, last.bytes_total);
    let expected = Counts { documents: 8, tokens: 5 + 2 + 4, text_bytes: 8, ..last };
    assert_eq!(last, expected);
}

#[test]
fn a_build_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let good = [texts(&["a"])];
    let stopped = Recorder { stop: true, ..Recorder::default() };
    let build = |sources: &[Source], progress: &dyn Progress| {
        bytes(0.0).build(sources, &out, IfExists::Refuse, progress).unwrap_err()
    };
    assert!(matches!(build(&good, &stopped), Error::Interrupted));
    assert!(matches!(build(&[texts(&[""])], &()), Error::Bad(_)));
    assert!(matches!(build(&[], &()), Error::NoDocuments { read: 0 }));
    assert!(matches!(build(&[Source::Text("/absent".into())], &()), Error::Io { .. }));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    for val_fraction in [-0.5, 1.5, f64::NAN] {
        let error = bytes(val_fraction).build(&good, &out, IfExists::Refuse, &()).unwrap_err();
        assert!(matches!(error, Error::Fraction { name: "val_fraction", .. }));
    }
}

#[test]
fn only_a_corpus_is_ever_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("deep/out");
    let build = |text: &str, if_exists| bytes(0.0).build(&[texts(&[text])], &out, if_exists, &());
    fs::create_dir_all(&out).unwrap(); // empty: free to take
    let first = build("a", IfExists::Refuse).unwrap().sha256();
    assert!(matches!(build("b", IfExists::Refuse), Err(Error::CorpusExists { .. })));
    assert_eq!(Corpus::open(&out).unwrap().sha256(), first);
    let second = build("b", IfExists::Replace).unwrap().sha256();
    assert_ne!(first, second);
    fs::write(out.join("notes.txt"), "mine").unwrap();
    for if_exists in [IfExists::Refuse, IfExists::Replace] {
        let error = build("c", if_exists).unwrap_err();
        assert!(error.to_string().ends_with("exists and is no corpus: it holds `notes.txt`"));
    }
    assert_eq!(Corpus::open(&out).unwrap().sha256(), second);
    assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 1); // nothing hidden is left
}

#[test]
fn a_tokenizer_that_cannot_separate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    let load = |json: &str, eot: Option<&str>| {
        fs::write(&path, json).unwrap();
        let loaded = Json { path: path.clone(), eot: eot.map(Into::into) }.load();
        loaded.map(|tokenizer| tokenizer.identity().eot).map_err(|error| error.to_string())
    };
    assert_eq!(load(&tokenizer_json(), None), Ok(300));
    assert_eq!(load(&tokenizer_json(), Some("th")), Ok(70_000));
    let absent = load(&tokenizer_json(), Some("<eos>")).unwrap_err();
    assert!(
        absent.ends_with("tokenizer.json` cannot be loaded: it has no token <eos>"),
        "{absent}"
    );
    let renamed = tokenizer_json().replace("<|endoftext|>", "<end>");
    assert!(load(&renamed, None).unwrap_err().ends_with("it has no token <|endoftext|> or </s>"));
    assert!(load("{}", None).unwrap_err().contains("cannot be loaded"));
    assert!(matches!(Json::default().load(), Err(Error::Io { .. })));
    assert!(matches!("gpt3".parse::<AnyTokenizer>(), Err(Error::UnknownTokenizer { .. })));

    // Truncation asked for by the file.
    let truncated = tokenizer_json().replace(
        r#""truncation":null"#,
        r#""truncation":{"direction":"Right","max_length":2,"strategy":"LongestFirst","stride":0}"#,
    );
    assert_ne!(truncated, tokenizer_json());
    assert_eq!(load(&truncated, None), Ok(300));
    let tokenizer = Json { path: path.clone(), eot: None }.load().unwrap();
    let mut tokens = Vec::new();
    tokenizer.encode("abcde", &mut tokens).unwrap();
    assert_eq!(tokens, b"abcde".map(u32::from));

    // A separator that ordinary text encodes to.
    load(&tokenizer_json(), None).unwrap();
    let tokenizer = Json { path: path.clone(), eot: Some("th".into()) }.into();
    let config = BuildConfig { tokenizer, ..bytes(0.0) };
    let (_dir, corpus) = build(&config, &[texts(&["the"])]);
    let error = corpus.unwrap_err().to_string();
    assert_eq!(error, "`text`: the text contains the separator, token 70000");
}

#[test]
fn parquet_without_a_text_column_of_strings_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    for (column, expected) in [
        ("optional binary body (UTF8);", "no column `text`, but body"),
        ("required int64 text;", "column `text` is INT64, expected one byte array per row"),
        (
            "repeated binary text (UTF8);",
            "column `text` is repeated BYTE_ARRAY, expected one byte array per row",
        ),
    ] {
        let schema = format!("message m {{ {column} }}");
        let schema = parquet::schema::parser::parse_message_type(&schema).unwrap();
        let file = fs::File::create(&path).unwrap();
        let properties = std::sync::Arc::default();
        parquet::file::writer::SerializedFileWriter::new(file, schema.into(), properties)
            .unwrap()
            .close()
            .unwrap();
        let (_dir, corpus) = build(&bytes(0.0), &[Source::Parquet(path.clone())]);
        assert_eq!(corpus.unwrap_err().to_string(), format!("`{}`: {expected}", path.display()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn damaged_parquet_is_an_error_or_another_text_and_comes_to_an_end(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = parquet_file(dir.path(), &[Some(b"some text"), None, Some(b"more"), Some(b"x")]);
        let mut file = fs::read(&path).unwrap();
        for (place, byte) in damage {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        fs::write(&path, file).unwrap();
        let tokenizer = Byte {}.load().unwrap();
        match Source::Parquet(path).open(tokenizer.identity(), &Meter::default()) {
            Ok(rows) => {
                let failed = rows.take(1_000).filter(|row| matches!(row, Err(Error::Bad(_)))).count();
                prop_assert!(failed < 1_000);
            }
            Err(error) => prop_assert!(matches!(error, Error::Bad(_)), "{error}"),
        }
    }
}
