use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use burn::tensor::Device;
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2};
use ortho_linear::{Cause, ClipRule, CodeWidth, Inert, Verdict};
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

use super::*;
use crate::fixture;

fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values
}

#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn uniform(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_uniform(0, &mut values);
    values.into_iter().map(|it| (2.0 * it - 1.0) as f32).collect()
}

type Tensor<'a> = (&'a str, [usize; 2], Vec<f32>);

/// A checkpoint of these matrices of `F32`, in a folder that goes with it.
fn checkpoint(tensors: &[Tensor<'_>]) -> (TempDir, PathBuf) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|it| it.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    (folder, path)
}

fn parse(text: &str) -> OrthoDiagnosis {
    OrthoDiagnosis::parse(text, &[]).unwrap()
}

fn run(text: &str, path: &Path) -> OrthoReport {
    parse(text).run(path, None, None, &()).unwrap()
}

/// 16 outputs of 512 inputs, as a `Linear` stores them: cubes of normal values, whose tails are clipped; uniform values,
/// whose bulk is coarse; zeros and ones, which codes stand for to 2^-12 and of which none is outside.
fn three() -> (TempDir, PathBuf) {
    let bits = uniform(3, 16 * 512).into_iter().map(|it| f32::from(it > 0.0));
    checkpoint(&[
        ("heavy.weight", [16, 512], normal(1, 16 * 512).into_iter().map(|it| it.powi(3)).collect()),
        ("uniform.weight", [16, 512], uniform(2, 16 * 512)),
        ("binary.weight", [16, 512], bits.collect()),
        ("wte.weight", [30, 16], vec![1.0; 480]),
    ])
}

const BULK: &str = "split = { base = { kind = \"bulk\", bits = 4, low = 0.01, high = 0.99 } }";

#[test]
fn a_clipped_a_coarse_and_an_inert_layer() {
    let (_folder, path) = three();
    let report = run(BULK, &path);
    let [binary, heavy, uniform] = &report.layers[..] else { panic!("{:?}", report.layers) };
    assert_eq!(heavy.shape, [512, 16]);
    assert_eq!(heavy.verdict, Verdict::Refuse(Cause::Clipping));
    assert_eq!(uniform.verdict, Verdict::Refuse(Cause::Steps));
    assert!(heavy.channels.heavy_tailed >= 1.0 && uniform.channels.light_tailed >= 1.0);
    // 15 steps over 98 % of the range: 2 * .98 / 15 / sqrt 12 of 1 / sqrt 3.
    assert!((uniform.diagnosis.error - 0.0653).abs() < 0.002, "{uniform:?}");
    assert_eq!((binary.verdict, binary.diagnosis.inert), (Verdict::Pass, Some(Inert::EmptyMask)));
    assert!(binary.diagnosis.error < 5e-4 && binary.density <= 0.0);
    // 4 bits a weight, a scale of 16 and a zero point of 4; pointers of 17 channels.
    assert_eq!((binary.base_bytes, binary.outlier_bytes), (16 * (256 + 2) + 8, 17 * 4));
    let remarks = report.layers.iter().map(|it| it.remark(&report.settings));
    assert_eq!(
        remarks.collect::<Vec<_>>(),
        [
            "pass; alpha inert: no outliers",
            "clipping: a wider range helps, more bits do not",
            "steps: more bits help, a wider range does not"
        ]
    );
    let causes: Vec<_> = report.refused().map(|(it, cause)| (it.name.as_str(), cause)).collect();
    assert_eq!(causes, [("heavy.weight", Cause::Clipping), ("uniform.weight", Cause::Steps)]);
    assert_eq!(report.left_out.len(), 1);
    assert_eq!(report.left_out[0].reason, "embedding or output head");
    assert_eq!(report.stored_bytes(), 3 * 16 * 512 * 2);
}

/// What was published stands in every table of rules, refused for its cause.
#[test]
fn the_published_bases_are_among_the_rules() {
    let (_folder, path) = checkpoint(&[("a.weight", [64, 2_048], normal(4, 64 * 2_048))]);
    let report = run("budget = 0.1\nsplit = { base = { kind = \"int8\" } }", &path);
    let layer = &report.layers[0];
    assert_eq!(layer.rules.len(), 2 * 5 + 5);
    let published: Vec<String> = layer
        .rules
        .iter()
        .filter(|it| it.published)
        .map(|it| format!("{} {:?} {:?}", it.rule, it.bits, it.cause))
        .collect();
    let clipped = |rule: &str| format!("{rule} Eight Some(Clipping)");
    let mut expected = vec![clipped("min(p95, 3 sigma)"), "3 sigma Four Some(Steps)".to_owned()];
    expected.extend(["p90", "p85", "p80", "p75", "p70"].map(clipped));
    assert_eq!(published, expected);
    let [best, worst] = layer.best_and_worst_rule(CodeWidth::Eight).unwrap();
    assert_eq!((best.rule, worst.rule), (ClipRule::Mse, ClipRule::PublishedMinimum));
    assert_eq!(layer.verdict, Verdict::Pass);
    // The base's own rule is where its prediction is from, and what was measured is the base.
    let own = layer.rule_of(&report.settings.split.base).unwrap().error.total;
    assert_eq!(layer.predicted, Some(own.predicted));
    assert!((layer.diagnosis.error / own.measured - 1.0).abs() < 1e-9);
    assert!((own.measured / own.predicted - 1.0).abs() < 0.1, "{own:?}");
}

#[test]
fn what_is_lost_beyond_the_largest_is_predicted() {
    let (_folder, path) = checkpoint(&[("a.weight", [64, 2_048], normal(5, 64 * 2_048))]);
    for (construction, expected, cause) in
        [("extract", 0.2907, Some(Cause::Mask)), ("clamp", 0.0431, None)]
    {
        let selection = "selection = { kind = \"magnitude\", ratio = 0.01 }";
        let text = format!("split = {{ construction = \"{construction}\", {selection} }}");
        let layer = &run(&text, &path).layers[0];
        assert!((layer.predicted.unwrap() - expected).abs() < 5e-4, "{layer:?}"); // one percent of a normal
        assert!((layer.diagnosis.error - expected).abs() < 0.01, "{layer:?}");
        assert_eq!((layer.density * 131_072.0, layer.cause()), (1_311.0, cause));
        let by_channel = text.replace("ratio", "scope = \"channel\", ratio");
        assert_eq!(run(&by_channel, &path).layers[0].predicted, None);
    }
    assert_eq!(run("", &path).layers[0].predicted, Some(0.0)); // fp16 of fp16
    let bulk = run("split = { base = { kind = \"bulk\" } }", &path);
    assert_eq!(bulk.layers[0].predicted, None);
}

/// The same matrix as a `Conv1D` and as a `Linear` store it.
#[test]
fn a_matrix_lies_either_way() {
    let values = normal(6, 96 * 40);
    let transposed = (0..40).flat_map(|col| values.iter().skip(col).step_by(40).copied()).collect();
    let diagnose = |name: &str, shape, values| {
        let (_folder, path) = checkpoint(&[(name, shape, values)]);
        let LayerDiagnosis { shape, channels, diagnosis, rules, .. } =
            run("split = { base = { kind = \"int4\" } }", &path).layers.swap_remove(0);
        (shape, channels, diagnosis.steps, rules)
    };
    let conv_1d = diagnose("h.0.mlp.c_proj.weight", [96, 40], values);
    assert_eq!(conv_1d, diagnose("layers.0.down.weight", [40, 96], transposed));
    assert_eq!(conv_1d.0, [96, 40]);
}

#[test]
fn a_change_beside_what_was_before() {
    let after = |change: f32| {
        let mut values = uniform(7, 64 * 32);
        values[5] += change;
        values[9] += 0.5 * change;
        values
    };
    let (_after, path) = checkpoint(&[("transformer.a.weight", [32, 64], after(1.0))]);
    let (_before, before) = checkpoint(&[("a.weight", [32, 64], after(0.0))]);
    let delta = "split = { construction = \"delta\", selection = { kind = \"memory-delta\", ratio = 0.0005 } }";
    let report = parse(delta).run(&path, Some(&before), None, &()).unwrap();
    let layer = &report.layers[0];
    // One of two changes, of which it is 1 / (1 + 1/4).
    assert!((layer.captured.unwrap() - 0.8).abs() < 1e-3, "{layer:?}");
    assert_eq!(layer.outlier_bytes, 33 * 4 + 6);
    // The error is the change itself: 1 of sqrt(2048 / 3) = 26.1.
    assert!((layer.diagnosis.mask - 0.0383).abs() < 0.001 && layer.verdict == Verdict::Pass);
    let strict = parse(delta).overridden(&["budget=0.01".to_owned()]).unwrap();
    let report = strict.run(&path, Some(&before), None, &()).unwrap();
    let remark = report.layers[0].remark(&report.settings);
    assert_eq!(remark, "mask: a smaller mask helps, more bits do not");

    let error = |settings: &str, pretrained: &[Tensor<'_>]| {
        let (_folder, before) = checkpoint(pretrained);
        let found = parse(settings).run(&path, Some(&before), None, &());
        found.unwrap_err().to_string().replace(&*before.to_string_lossy(), "PRETRAINED")
    };
    let b = || ("b.weight", [32, 64], after(0.0));
    assert_eq!(
        error(delta, &[b()]),
        "`PRETRAINED` is no pretrained state of the checkpoint: the checkpoint has no `b.weight`"
    );
    assert_eq!(
        error(delta, &[("wte.weight", [32, 64], after(0.0))]),
        "`PRETRAINED` is no pretrained state of the checkpoint: it has no `transformer.a.weight`"
    );
    assert_eq!(
        error(delta, &[("a.weight", [64, 32], after(0.0))]),
        "pretrained `transformer.a.weight` is F32 of 64x32, expected F32 of 32x64 as in the checkpoint"
    );
    let alone = parse(delta).run(&path, None, None, &()).unwrap_err().to_string();
    let expected =
        "tensor `transformer.a.weight`: `delta` needs the pretrained matrix, which was not given";
    assert_eq!(alone, expected);
}

#[test]
fn outputs_on_the_text_that_a_model_reads() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&folder.path().join("corpus"), &fixture::prose(8, 60), 0.5);
    let shape = Gpt2Config {
        vocab_size: 257,
        n_positions: 32,
        n_embd: 16,
        n_layer: 2,
        n_head: 2,
        ..Gpt2Config::default()
    };
    let device = Device::default();
    let model = PlainGpt2::random(&shape, Key::from_seed(1), &device).unwrap();
    // One loud input of the first layer, and its weights below half a step of 4 bits, so that they are lost.
    let model = gpt2_model::assign(model, |name, shape| {
        let mut values = normal(8, shape.iter().product());
        match name {
            "h.0.ln_1.weight" => Some((0..16).map(|i| if i == 3 { 200.0 } else { 1.0 }).collect()),
            "h.0.attn.c_attn.weight" => {
                values[3 * 48..4 * 48].iter_mut().for_each(|it| *it = 0.01f32.copysign(*it));
                Some(values)
            }
            _ => None,
        }
    });
    let path = folder.path().join("model");
    gpt2_model::save(&model, &shape, &path).unwrap();
    let text = Text { corpus: &corpus, device };
    let settings = "budget = 0.2\nwindows = 2\nsplit = { base = { kind = \"int4\" }, selection = { kind = \"hessian\", ratio = 0.0 } }";
    let report = parse(settings).run(&path, None, Some(&text), &()).unwrap();
    assert_eq!(report.layers.len(), 8);
    let seen = report.inputs.as_ref().unwrap();
    assert_eq!((seen.windows, seen.window, seen.held_out), (2, 32, true));
    assert!(report.layers.iter().all(|it| it.diagnosis.activations.is_some()));
    let loud = &report.layers[0];
    let [error, heard] = [loud.diagnosis.error, loud.diagnosis.activations.unwrap()];
    assert!(error < 0.2 && heard > 0.2, "{error} {heard}");
    assert_eq!(loud.cause(), Some(Cause::Steps));
    let remark = loud.remark(&report.settings);
    assert!(remark.starts_with("steps, ") && remark.contains(" % on the text, "), "{remark}");
    assert!(report.inputs_in_words().ends_with("2 windows of 32 tokens of held-out text."));
    // Chosen by the inputs: 48 of 16 x 48, the largest squares of a weight and of all its inputs.
    let more = parse(settings).overridden(&["split.selection.ratio=0.0625".to_owned()]).unwrap();
    let mut outliers = Vec::new();
    let keep = |name: &str, split: Split| {
        if name == "h.0.attn.c_attn" {
            outliers = split.outliers().iter().map(|it| it.0).collect();
        }
    };
    let report = more.each(&path, None, Some(&text), &(), keep).unwrap();
    assert!((report.layers[0].density - 0.0625).abs() < 1e-12);
    let inputs = &more.inputs(&path, &text, true, &()).unwrap().by_layer["h.0.attn.c_attn"];
    let (weights, _) = gpt2_model::load(&path, &Device::default()).unwrap();
    let weights: Vec<f32> = weights.h[0].attn.c_attn.weight.val().into_data().iter().collect();
    let score = |place: &usize| -> f64 {
        let heard: f64 = inputs.chunks(16).map(|it| f64::from(it[place / 48]).powi(2)).sum();
        f64::from(weights[*place]).powi(2) * heard
    };
    let mut expected: Vec<usize> = (0..16 * 48).collect();
    expected.sort_by(|a, b| score(b).total_cmp(&score(a)));
    expected.truncate(48);
    expected.sort_unstable();
    outliers.sort_unstable();
    assert_eq!(outliers, expected);
    assert!(expected.iter().any(|it| it / 48 == 3), "the loud input, though its weights are small");

    let fisher = r#"budget = 1.0
windows = 2
split = { selection = { kind = "fisher", ratio = 0.125 } }"#;
    let report = parse(fisher).run(&path, None, Some(&text), &()).unwrap();
    assert!(report.layers.iter().all(|it| (it.density - 0.125).abs() < 1e-12));
    let alone = parse(fisher).run(&path, None, None, &()).unwrap_err().to_string();
    assert!(
        alone.ends_with("`fisher` needs the Fisher information, which was not given"),
        "{alone}"
    );

    let alone = more.run(&path, None, None, &()).unwrap_err().to_string();
    let expected = "tensor `h.0.attn.c_attn.weight`: `hessian` needs the diagonal of the Hessian, which was not given";
    assert_eq!(alone, expected);
    let (_folder, other) = three();
    let error = parse("").run(&other, None, Some(&text), &()).unwrap_err();
    assert!(matches!(error, DiagnoseError::Text(_)), "{error}");
}

#[test]
fn equal_results_are_equal_bytes_and_come_back() {
    let (_folder, path) = three();
    let written = |folder: &Path| {
        run(BULK, &path).write(folder).unwrap();
        ["layers.csv", "rules.csv", "diagnosis.json", "report.html"]
            .map(|name| fs::read_to_string(folder.join(name)).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let files = written(&folder.path().join("a"));
    assert_eq!(files, written(&folder.path().join("b")));
    let [layers, rules, json, page] = files;
    assert_eq!(serde_json::from_str::<OrthoReport>(&json).unwrap(), run(BULK, &path));
    assert_eq!(layers.lines().count(), 1 + 3);
    assert_eq!(rules.lines().count(), 1 + 3 * 15);
    assert!(rules.contains("heavy.weight,\"min(p95, 3 sigma)\",8,true,"), "{rules}");
    assert!(page.contains("2 of 3 matrices are refused") && page.contains("No text was given"));
}

#[test]
fn settings_and_checkpoints_that_are_none() {
    let (_folder, path) = three();
    let error = |text: &str| parse(text).run(&path, None, None, &()).unwrap_err().to_string();
    assert_eq!(error("budget = nan"), "`budget` is NaN, expected a finite number of at least 0");
    assert_eq!(error("tokens = 0"), "`tokens` is 0, expected 1 to 65536");
    assert_eq!(error("window = 1000000"), "`window` is 1000000, expected 1 to 65536");
    let none = error("skip = [\"*.weight\"]");
    assert!(none.ends_with("has no weight matrix to diagnose"), "{none}");
    let mut broken = normal(1, 64);
    broken[7] = f32::NAN;
    let (_folder, broken) = checkpoint(&[("a.weight", [8, 8], broken)]);
    let error = parse("").run(&broken, None, None, &()).unwrap_err().to_string();
    assert_eq!(error, "tensor `a.weight`: weight 56 is NaN, expected a finite number"); // [0, 7] the other way
    let typo = OrthoDiagnosis::parse("[split]\nratio = 1", &[]).unwrap_err().to_string();
    assert!(typo.contains("unknown field `ratio`"), "{typo}");
    let file = include_str!("../../../../../configs/ortho-diagnose.toml");
    assert_eq!(
        parse(file),
        parse("split = { base = { kind = \"int8\" }, selection = { kind = \"magnitude\" } }")
    );
}

/// Somebody who has seen enough after the first layer.
struct One;

impl Progress for One {
    fn begin(&self, task: &str, unit: &'static str, total: u64) {
        assert_eq!((task, unit, total), ("diagnose", "layers", 3));
    }

    fn update(&self, done: u64, _note: &str) -> ControlFlow<()> {
        if done == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn end(&self) {
        panic!("not the end");
    }
}

#[test]
fn an_end_in_the_middle() {
    let (_folder, path) = three();
    let error = parse("").run(&path, None, None, &One).unwrap_err();
    assert!(matches!(error, DiagnoseError::Interrupted));
}
