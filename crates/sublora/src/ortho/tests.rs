//! A GPT-2 that is split, written, read and evaluated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use corpus::Corpus;
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2};
use ortho_linear::{
    Alpha, AnyBase, FILE_NAME, Matrix, OrthoCheckpoint, Reference, Split, SplitConfig, Storage,
};
use tempfile::TempDir;

use super::*;
use crate::scoring::mean_nats;
use crate::{EvaluateConfig, fixture};

const NAMES: [&str; 4] = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];

fn shape() -> Gpt2Config {
    Gpt2Config {
        vocab_size: 257,
        n_positions: 16,
        n_embd: 16,
        n_layer: 2,
        n_head: 2,
        ..Gpt2Config::default()
    }
}

/// Weights far from each other, so that outliers matter.
fn model(seed: u64) -> PlainGpt2 {
    let model = PlainGpt2::random(&shape(), Key::from_seed(seed), &Device::default()).unwrap();
    gpt2_model::assign(model, |name, shape| {
        let mut values = vec![0.0; shape.iter().product()];
        Key::from_seed(seed).derive(name).fill_normal(0, &mut values);
        (shape.len() == 2).then(|| values.iter().map(|it| 0.3 * it).collect())
    })
}

/// A GPT-2 folder beside a corpus.
fn prepared() -> (TempDir, PathBuf, Corpus) {
    let folder = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&folder.path().join("corpus"), &fixture::prose(8, 40), 0.5);
    let path = folder.path().join("gpt2");
    gpt2_model::save(&model(1), &shape(), &path).unwrap();
    (folder, path, corpus)
}

fn diagnosis(text: &str) -> OrthoDiagnosis {
    OrthoDiagnosis::parse(text, &[]).unwrap()
}

fn split(text: &str, gpt2: &Path, out: &Path) -> Result<OrthoReport, DiagnoseError> {
    diagnosis(text).split_gpt2(gpt2, None, None, out, &Device::default(), &())
}

/// Two documents, in windows of the whole context.
fn evaluate() -> EvaluateConfig {
    EvaluateConfig { documents: Some(2), batch: 4, ..EvaluateConfig::default() }
}

/// Of the model with the matrices that `change` makes of the stored ones.
fn nats(corpus: &Corpus, change: impl Fn(&str, &Reference) -> Vec<f32>) -> f64 {
    let plain = model(1);
    let weights = gpt2_model::read(&plain, |name| name.starts_with("h.")).unwrap();
    let mut changed: BTreeMap<String, Vec<f32>> = weights
        .into_iter()
        .filter(|(_, data)| data.shape().num_dims() == 2)
        .map(|(name, data)| {
            let values: Vec<f32> = data.iter::<f32>().collect();
            let weights = Matrix::new(&values, [data.shape()[0], data.shape()[1]]).unwrap();
            let stored = Reference::cast(weights, Storage::F16).unwrap();
            let values = change(name.trim_end_matches(".weight"), &stored);
            (name, values)
        })
        .collect();
    assert_eq!(changed.len(), 8);
    let plain = gpt2_model::assign(plain, |name, _| changed.remove(name));
    let texts = evaluate().texts(corpus, &shape(), &|| 0.0, &()).unwrap();
    mean_nats(&texts[0].score("plain", &plain).unwrap())
}

fn evaluated(folder: &Path, corpus: &Corpus, alphas: &[f32], layers: &[(&str, f32)]) -> Vec<f64> {
    let alpha = |it: f32| Alpha::extrapolated(it).unwrap();
    let evaluation = OrthoEvaluation {
        alphas: alphas.iter().copied().map(alpha).collect(),
        layers: layers.iter().map(|it| (it.0.to_owned(), alpha(it.1))).collect(),
        evaluate: evaluate(),
        corpus,
        now: &|| 0.0,
        progress: &(),
    };
    let model = OrthoModel::load(folder, &Device::default()).unwrap();
    let records = evaluation.run(&model).unwrap();
    assert_eq!(records.iter().map(|it| it.alpha).collect::<Vec<_>>(), alphas);
    for it in &records {
        assert_eq!((it.documents, it.context, it.stride), (2, 16, 16));
        assert!((it.perplexity - it.nats_per_token.exp()).abs() < 1e-9 && it.tokens > 100);
        assert_eq!(it.layers, layers.iter().map(|it| (it.0.to_owned(), it.1)).collect());
    }
    records.iter().map(|it| it.nats_per_token).collect()
}

fn is_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
}

#[test]
fn without_loss_alpha_1_is_the_stored_model() {
    let (folder, gpt2, corpus) = prepared();
    let out = folder.path().join("split");
    let settings = "budget = 1.0\nsplit = { construction = \"clamp\", selection = { kind = \"magnitude\", ratio = 0.05 } }";
    let report = split(settings, &gpt2, &out).unwrap();
    assert!(report.refusal().is_none() && !report.is_inert());
    let [base, outliers] = report.bytes();
    // 12 x 16 x 16 weights of each of two blocks, 2 bytes each.
    assert_eq!((base, report.stored_bytes()), (12_288, 12_288));
    let OrthoCheckpoint { splits, made_by, .. } =
        ortho_linear::load(&out, &Device::default()).unwrap();
    assert_eq!(made_by, report.settings.split);
    let names = (0..2).flat_map(|block| NAMES.map(|name| format!("h.{block}.{name}")));
    assert_eq!(splits.keys().cloned().collect::<Vec<_>>(), names.collect::<Vec<_>>());
    let bytes: usize = splits.values().map(Split::bytes).sum();
    assert_eq!(bytes as u64, base + outliers);

    let at = |alpha: Alpha| nats(&corpus, |name, _| splits[name].materialise(alpha));
    let stored = nats(&corpus, |_, stored| stored.matrix().values().to_vec());
    let [none, some, all, more] =
        evaluated(&out, &corpus, &[0.0, 0.5, 1.0, 1.5], &[])[..].try_into().unwrap();
    is_near(all, stored);
    is_near(none, at(Alpha::BASE));
    is_near(some, at(Alpha::new(0.5).unwrap()));
    is_near(more, at(Alpha::extrapolated(1.5).unwrap()));
    assert!((all - none).abs() > 1e-3, "{all} {none}");

    // One layer alone, also against all others.
    let own = |layer: &str, rest: Alpha, alpha: Alpha| {
        nats(&corpus, |name, _| splits[name].materialise(if name == layer { alpha } else { rest }))
    };
    let [found] =
        evaluated(&out, &corpus, &[1.0], &[("h.0.mlp.c_fc", 0.0)])[..].try_into().unwrap();
    is_near(found, own("h.0.mlp.c_fc", Alpha::STORED, Alpha::BASE));
    assert!((found - all).abs() > 1e-4, "{found} {all}");
    let [found] =
        evaluated(&out, &corpus, &[0.0], &[("h.1.attn.c_attn", 1.0)])[..].try_into().unwrap();
    is_near(found, own("h.1.attn.c_attn", Alpha::BASE, Alpha::STORED));
}

#[test]
fn without_outliers_a_compressed_base_is_the_quantised_model() {
    let (folder, gpt2, corpus) = prepared();
    let out = folder.path().join("split");
    let settings = "split = { base = { kind = \"int8\" }, selection = { kind = \"magnitude\", ratio = 0.02 } }";
    split(settings, &gpt2, &out).unwrap();
    let int8 = AnyBase::all().into_iter().find(|it| it.name() == "int8").unwrap();
    let base = |stored: &Reference| int8.as_dyn().encode(stored).unwrap();
    let quantised = nats(&corpus, |_, stored| base(stored).matrix().values().to_vec());
    let stored = nats(&corpus, |_, stored| stored.matrix().values().to_vec());
    let [found] = evaluated(&out, &corpus, &[0.0], &[])[..].try_into().unwrap();
    is_near(found, quantised);
    assert!((found - stored).abs() > 1e-5, "{found} {stored}");
}

#[test]
fn what_is_refused_or_inert() {
    let (folder, gpt2, _) = prepared();
    let out = folder.path().join("split");
    let before = fs::read_dir(folder.path()).unwrap().count();
    let report = split("split = { base = { kind = \"int4\" } }", &gpt2, &out).unwrap();
    assert!(report.refusal().unwrap().starts_with("refuses to patch 8 of 8 layers"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
    // One refused layer is enough, and one that is left out is not looked at.
    let clamp = "budget = 0.04\nsplit = { construction = \"clamp\", selection = { kind = \"magnitude\", ratio = 0.005 } }";
    let refused: Vec<String> =
        split(clamp, &gpt2, &out).unwrap().refused().map(|it| it.0.name.clone()).collect();
    assert!((1..8).contains(&refused.len()), "{refused:?}");
    assert!(!out.exists());
    let skip = OrthoDiagnosis { skip: refused.clone(), ..diagnosis(clamp) };
    let report = skip.split_gpt2(&gpt2, None, None, &out, &Device::default(), &()).unwrap();
    assert_eq!(report.layers.len(), 8 - refused.len());
    let found = ortho_linear::load(&out, &Device::default()).unwrap();
    assert_eq!(found.splits.len(), 8 - refused.len());
    let plain = |model: &PlainGpt2| {
        let weights = gpt2_model::read(model, |name| refused.iter().any(|it| it == name)).unwrap();
        weights.into_iter().map(|(_, data)| data.try_to_vec::<f32>().unwrap()).collect::<Vec<_>>()
    };
    let materialised = ortho_linear::Streams::materialised(&found.model);
    assert_eq!(plain(&materialised), plain(&model(1)));

    let error = split(clamp, &gpt2, &out).unwrap_err();
    assert!(matches!(&error, DiagnoseError::OutExists(path) if *path == out), "{error}");
    // fp16 of f16 leaves nothing for its outliers.
    let inert = split("", &gpt2, &folder.path().join("inert")).unwrap();
    assert!(inert.refusal().is_none() && inert.is_inert());
}

#[test]
fn what_is_no_gpt2_and_what_no_split_has() {
    let (folder, gpt2, corpus) = prepared();
    let out = folder.path().join("split");
    let error = |text: &str, gpt2: &Path| {
        let said = split(text, gpt2, &out).unwrap_err().to_string();
        assert!(!out.exists());
        said.replace(&*gpt2.to_string_lossy(), "GPT2")
    };
    let no_folder = "`GPT2` is no folder of a GPT-2, expected one with `config.json` and weights";
    assert_eq!(error("", &gpt2.join("model.safetensors")), no_folder);
    assert_eq!(error("", &folder.path().join("corpus")), no_folder);
    let expected = "`embeddings` is true, expected false: a split has linear layers alone";
    assert_eq!(error("embeddings = true", &gpt2), expected);
    let expected =
        "`orientation` is linear, expected auto or conv1d, as the weights of a GPT-2 lie";
    assert_eq!(error("orientation = \"linear\"", &gpt2), expected);
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("config.json"), "{\"model_type\": \"llama\"}").unwrap();
    let said = error("", &other).replace(char::from(92), "/");
    assert!(said.starts_with("`GPT2/config.json` is no valid configuration"), "{said}");

    split("", &gpt2, &out).unwrap();
    let found = OrthoModel::load(&out, &Device::default()).unwrap();
    let layers = BTreeMap::from([("h.7.mlp.c_fc".to_owned(), Alpha::BASE)]);
    let said = found.set_alpha(Alpha::BASE, &layers).unwrap_err().to_string();
    assert!(said.starts_with("`h.7.mlp.c_fc` is no linear layer of the model, expected"), "{said}");
    let alphas = ortho_linear::Streams::streams(&found.model);
    assert!(alphas.iter().all(|it| it.1.alpha() == Alpha::STORED)); // nothing was set

    let small = Gpt2Config { vocab_size: 256, ..shape() };
    let plain = PlainGpt2::random(&small, Key::from_seed(1), &Device::default()).unwrap();
    let path = folder.path().join("small");
    ortho_linear::save(&plain, &small, &BTreeMap::new(), &SplitConfig::default(), &path).unwrap();
    let found = OrthoModel::load(&path, &Device::default()).unwrap();
    let said = found.generate(&corpus, &[], 1, 0.0, 0).unwrap_err().to_string();
    assert!(said.ends_with("knows 256 tokens, the corpus 257"), "{said}");
}

#[test]
fn text_at_the_alpha_that_is_set() {
    let (folder, gpt2, corpus) = prepared();
    let out = folder.path().join("split");
    let settings = "budget = 1.0\nsplit = { construction = \"extract\", selection = { kind = \"magnitude\", ratio = 0.5 } }";
    split(settings, &gpt2, &out).unwrap();
    let found = OrthoModel::load(&out, &Device::default()).unwrap();
    let draw = |alpha| {
        found.set_alpha(alpha, &BTreeMap::new()).unwrap();
        found.generate(&corpus, &[101, 102], 12, 0.0, 0).unwrap()
    };
    let (stored, base) = (draw(Alpha::STORED), draw(Alpha::BASE));
    assert_ne!(stored, base);
    assert_eq!((stored.len(), draw(Alpha::STORED)), (12, stored));
}

/// Replaces bytes of the file and returns what is then said of it.
fn damaged(out: &Path, damage: impl FnOnce(&mut Vec<u8>)) -> String {
    let path = out.join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    damage(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let error = OrthoModel::load(out, &Device::default()).unwrap_err().to_string();
    fs::write(&path, whole).unwrap();
    error.replace(&*path.to_string_lossy(), "FILE")
}

#[test]
fn a_damaged_file_is_named() {
    let (folder, gpt2, _) = prepared();
    let out = folder.path().join("split");
    split("split = { base = { kind = \"int8\" } }", &gpt2, &out).unwrap();
    let position = |bytes: &[u8], what: &str| {
        bytes.windows(what.len()).position(|it| it == what.as_bytes()).unwrap()
    };
    let replaced = |from: &str, to: &str| {
        damaged(&out, |bytes| {
            let at = position(bytes, from);
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        })
    };
    assert_eq!(
        replaced("version\\\":1", "version\\\":2"),
        "`FILE` was written by version 2 of the format, this program reads 1"
    );
    let said = damaged(&out, |bytes| *bytes.last_mut().unwrap() ^= 1); // a code of the last base
    let expected = "`FILE` is no valid file of bases and outliers: the base of `h.1.mlp.c_proj` has the SHA-256 ";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(
        replaced("\"ln_f.bias\"", "\"ln_f.bies\""),
        "`FILE` is no valid file of bases and outliers: `ln_f.bias` is missing"
    );
    let said = damaged(&out, |bytes| bytes.truncate(100));
    assert!(said.starts_with("`FILE` is no safetensors file: "), "{said}");
    let nan = damaged(&out, |bytes| {
        let header: usize = u64::from_le_bytes(bytes[..8].try_into().unwrap()).try_into().unwrap();
        let entry = position(bytes, "\"ln_f.bias\"");
        let text = String::from_utf8_lossy(&bytes[entry..8 + header]).into_owned();
        let offsets = text.split_once("\"data_offsets\":[").unwrap().1;
        let start: usize = offsets.split(',').next().unwrap().parse().unwrap();
        let at = 8 + header + start;
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let expected = "`FILE` is no valid file of bases and outliers: `ln_f.bias` holds a value that is not finite";
    assert_eq!(nan, expected);
    fs::remove_file(out.join("config.json")).unwrap();
    assert!(damaged(&out, |_| ()).contains("config.json"));
}
