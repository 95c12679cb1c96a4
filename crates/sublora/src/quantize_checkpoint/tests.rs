//! Small checkpoints, and everything that can be wrong with one.

use std::ops::ControlFlow;
use std::path::PathBuf;

use half::{bf16, f16};
use quantizers::{Distortion, MinMax};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use tempfile::TempDir;

use super::*;

/// Name, type, shape and bytes of a tensor.
type Entry<'a> = (&'a str, Dtype, &'a [usize], Vec<u8>);

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|it| it.to_le_bytes()).collect()
}

fn f16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&it| f16::from_f32(it).to_le_bytes()).collect()
}

fn bf16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&it| bf16::from_f32(it).to_le_bytes()).collect()
}

fn file(entries: &[Entry]) -> Vec<u8> {
    let views = entries.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
    });
    serialize(views, Some([("format".to_owned(), "pt".to_owned())].into())).unwrap()
}

/// A folder with files in it, and the place for its quantised self.
fn folder(files: &[(&str, &[u8])]) -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (source, out) = (dir.path().join("source"), dir.path().join("deep/out"));
    fs::create_dir(&source).unwrap();
    for (name, bytes) in files {
        fs::write(source.join(name), bytes).unwrap();
    }
    (dir, source, out)
}

/// Symmetric and min-max: the scale is the largest magnitude over the largest code.
fn how(bits: u8, granularity: &str) -> QuantizeCheckpoint {
    QuantizeCheckpoint {
        bits: BitWidth::new(bits).unwrap(),
        granularity: granularity.parse().unwrap(),
        range: MinMax {}.into(),
        ..QuantizeCheckpoint::default()
    }
}

/// What quantising a folder with this one file says.
fn error(how: &QuantizeCheckpoint, bytes: &[u8]) -> String {
    let (dir, source, out) = folder(&[("model.safetensors", bytes)]);
    let error = how.run(&source, &out, &()).unwrap_err();
    assert!(!out.exists());
    let parent = out.parent().unwrap();
    assert!(!parent.exists() || fs::read_dir(parent).unwrap().next().is_none(), "litter");
    error.to_string().replace(&dir.path().display().to_string(), "")
}

/// A tensor of a written file, in single precision.
fn read(path: &Path, name: &str) -> Vec<f32> {
    let mut checkpoint = Checkpoint::open(path).unwrap();
    let index = checkpoint.tensors().iter().position(|it| it.name == name).unwrap();
    let mut values = Vec::new();
    checkpoint.read(index, &mut values).unwrap();
    values
}

fn waves(len: usize) -> Vec<f32> {
    (0..len).map(|index| (0.7 * index as f32).sin() * (1.0 + (index % 5) as f32)).collect()
}

const CONV_1D_VALUES: [f32; 6] = [1.0, 0.25, -0.75, 0.0, 0.125, -0.25];

#[test]
fn two_bits_by_hand() {
    let entries = [("h.0.attn.c_proj.weight", Dtype::F32, &[3, 2][..], f32s(&CONV_1D_VALUES))];
    let (_dir, source, out) = folder(&[("model.safetensors", &file(&entries))]);
    let report = how(2, "channel").run(&source, &out, &()).unwrap();
    // The columns 1, -0.75, 0.125 and 0.25, 0, -0.25 have the scales 1 and 0.25.
    assert_eq!(read(&out, entries[0].0), [1.0, 0.25, -1.0, 0.0, 0.0, -0.25]);
    let Distortion { levels, sqnr_db, relative_error, zeros, clipped, bits_per_value } =
        report.quantized[0].distortion;
    assert_eq!(report.quantized[0].operand, Operand::Weight);
    assert_eq!(levels, 3); // of the first column
    // Σx² = 1 + 0.5625 + 0.015625 + 2 · 0.0625 = 1.703125; Σ(x - x̂)² = 0.0625 + 0.015625 = 0.078125
    assert!((sqnr_db - 13.384_564_936_046_05).abs() < 1e-12, "{sqnr_db}"); // 10 log10 21.8
    assert!((relative_error - 0.214_176_468_439_059_66).abs() < 1e-15); // 1/√21.8
    assert!((zeros - 2.0 / 6.0).abs() < 1e-15);
    assert!(clipped.abs() < 1e-15);
    assert!((bits_per_value - (2.0 + 16.0 * 2.0 / 6.0)).abs() < 1e-15); // two scales, six values
    assert_eq!(report.total, Some(report.quantized[0].distortion));
    assert!((report.bits_per_value - bits_per_value).abs() < 1e-15);
}

#[test]
fn the_rounding_of_the_element_type_is_part_of_the_report() {
    // bf16(1/3) and bf16(2/3): the codes 1 and 2 of the scale 1/3 become them again.
    let values = [1.0, 171.0 / 512.0, 171.0 / 256.0, 0.0];
    let entries = [("w", Dtype::BF16, &[2, 2][..], bf16s(&values))];
    let (_dir, source, out) = folder(&[("model.safetensors", &file(&entries))]);
    let report = how(3, "tensor").run(&source, &out, &()).unwrap();
    let distortion = report.quantized[0].distortion;
    assert_eq!((distortion.sqnr_db, distortion.relative_error), (f64::INFINITY, 0.0));
    assert_eq!(fs::read(out.join("model.safetensors")).unwrap(), file(&entries));
}

#[test]
fn values_are_those_of_the_quantizer_and_the_rest_is_copied() {
    let values = waves(8 * 6);
    let entries: Vec<Entry> = vec![
        ("a.q_proj.weight", Dtype::F32, &[6, 8], f32s(&values)),
        ("a.k_proj.weight", Dtype::F16, &[6, 8], f16s(&values)),
        ("a.v_proj.weight", Dtype::BF16, &[6, 8], bf16s(&values)),
        ("h.0.mlp.c_proj.weight", Dtype::F32, &[8, 6], f32s(&values)),
        ("a.bias", Dtype::F32, &[6], f32s(&[f32::NAN; 6])),
        ("a.conv", Dtype::F32, &[2, 2, 2], f32s(&values[..8])),
        ("a.ids", Dtype::I64, &[1, 2], vec![7; 16]),
        ("a.column", Dtype::F32, &[6, 1], f32s(&values[..6])),
        ("a.nothing", Dtype::F16, &[0, 4], vec![]),
        ("model.embed_tokens.weight", Dtype::F32, &[6, 8], f32s(&values)),
        ("wte.weight", Dtype::F32, &[6, 8], f32s(&values)),
        ("lm_head.weight", Dtype::F32, &[6, 8], f32s(&values)),
    ];
    let bytes = file(&entries);
    let (_dir, source, out) = folder(&[
        ("model.safetensors", &bytes),
        ("tokenizer.json", b"{}"),
        ("pytorch_model.bin", b"pickled"),
        ("model.safetensors.index.json", b"of another time"),
    ]);
    fs::create_dir(source.join("onnx")).unwrap();
    let how = how(3, "group:4");
    let report = how.run(&source, &out, &()).unwrap();

    let output = fs::read(out.join("model.safetensors")).unwrap();
    let header = bytes.len() - SafeTensors::read_metadata(&bytes).unwrap().1.data_len();
    assert_eq!(output[..header], bytes[..header]);
    let written = SafeTensors::deserialize(&output).unwrap();
    for tensor in &report.quantized {
        let (_, dtype, shape, _) = entries.iter().find(|it| it.0 == tensor.name).unwrap();
        let float = match dtype {
            Dtype::F32 => FloatType::F32,
            Dtype::F16 => FloatType::F16,
            _ => FloatType::Bf16,
        };
        let operand = if tensor.name.contains("c_proj") {
            Operand::Weight
        } else {
            Operand::TransposedWeight
        };
        let quantizer = Quantizer {
            bits: how.bits,
            granularity: how.granularity,
            operand,
            grid: Symmetric {}.into(),
            range: MinMax {}.into(),
            emulate: None,
        };
        let (values, shape) = (read(&source, &tensor.name), [shape[0], shape[1]]);
        let params = quantizer.fit(&values, shape).unwrap();
        let mut expected = vec![0.0; values.len()];
        quantizer.fake_quantize_into(&values, shape, &params, &mut expected).unwrap();
        assert_eq!(written.tensor(&tensor.name).unwrap().data(), float.encode(&mut expected));
        assert_eq!((tensor.operand, &tensor.dtype), (operand, &dtype.to_string()));
        assert!((tensor.distortion.bits_per_value - 7.0).abs() < 1e-12); // 3 + 16/4
    }
    assert_eq!(report.quantized.len(), 4);
    let mut left: Vec<_> =
        report.untouched.iter().map(|it| (it.name.as_str(), it.reason)).collect();
    left.sort_by_key(|it| it.0);
    let expected = [
        ("a.bias", Reason::NotAMatrix),
        ("a.column", Reason::Thin),
        ("a.conv", Reason::NotAMatrix),
        ("a.ids", Reason::ElementType),
        ("a.nothing", Reason::Thin),
        ("lm_head.weight", Reason::Embedding),
        ("model.embed_tokens.weight", Reason::Embedding),
        ("wte.weight", Reason::Embedding),
    ];
    assert_eq!(left, expected);
    for (name, _) in left {
        let bytes = &entries.iter().find(|it| it.0 == name).unwrap().3;
        assert_eq!(written.tensor(name).unwrap().data(), bytes, "{name}");
    }
    // 192 values of 7 bits; 32 bits each for 6 + 8 + 6 + 144, and 2 of 64 bits.
    let expected = (192.0 * 7.0 + 164.0 * 32.0 + 128.0) / 358.0;
    assert!((report.bits_per_value - expected).abs() < 1e-12);
    let left_out = ["model.safetensors.index.json", "onnx", "pytorch_model.bin"];
    assert_eq!(report.files_left_out, left_out);
    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["model.safetensors", "tokenizer.json"]);
}

#[test]
fn which_way_round_and_what_is_left() {
    let conv1d: [(&str, &[usize]); 2] =
        [("h.0.attn.c_proj.weight", &[8, 8]), ("h.0.mlp.c_fc.weight", &[8, 32])];
    let linear: [(&str, &[usize]); 2] =
        [("h.0.mlp.c_proj.weight", &[8, 32]), ("h.0.attn.c_attn.weight", &[24, 8])];
    let of = |how: &QuantizeCheckpoint, name: &str, tensors: &[(&str, &[usize])]| {
        let orientation = how.orientation.resolved(tensors.iter().copied());
        let how = QuantizeCheckpoint { orientation, ..how.clone() };
        let (_dir, source, _) =
            folder(&[("model.safetensors", &file(&[(name, Dtype::F32, &[4, 8], vec![0; 128])]))]);
        match how.plan(&Checkpoint::open(&source).unwrap().tensors()[0]) {
            Plan::Quantize { operand: Operand::Weight, .. } => "in x out",
            Plan::Quantize { .. } => "out x in",
            Plan::Leave(_) => "left",
        }
    };
    let name = "transformer.h.0.mlp.c_fc.weight";
    let mut how = how(4, "channel");
    assert_eq!(of(&how, name, &conv1d), "in x out");
    assert_eq!(of(&how, name, &[]), "in x out");
    assert_eq!(of(&how, name, &linear), "out x in"); // nanoGPT's, or gpt_bigcode's
    assert_eq!(of(&how, "score.weight", &conv1d), "out x in");
    let embeddings = [
        "lm_head.weight",
        "transformer.wte.weight",
        "model.embed_tokens.weight",
        "output.weight",
        "head.weight",
        "cls.predictions.decoder.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    ];
    for name in embeddings {
        assert_eq!(of(&how, name, &conv1d), "left");
    }
    assert_eq!(of(&how, "layers.0.attention.output.weight", &[]), "out x in");
    how.skip = vec!["score.*".to_owned()];
    assert_eq!(of(&how, "score.weight", &conv1d), "left");
    how.skip.clear();
    how.quantize_embeddings = true;
    how.orientation = Orientation::Conv1d;
    assert_eq!(of(&how, "score.weight", &linear), "in x out");
    for name in embeddings {
        assert_eq!(of(&how, name, &conv1d), "out x in");
    }
    how.orientation = Orientation::Linear;
    assert_eq!(of(&how, name, &conv1d), "out x in");
    // One scale an output, whichever axis that is.
    let groups = |operand| how.quantizer(operand).groups([4, 8]).unwrap().count();
    assert_eq!((groups(Operand::Weight), groups(Operand::TransposedWeight)), (8, 4));
}

#[test]
fn shards_stay_shards_and_a_file_alone_is_enough() {
    let values = waves(16);
    let first = file(&[("a.weight", Dtype::F32, &[4, 4], f32s(&values))]);
    let second = file(&[("b.weight", Dtype::F16, &[2, 8], f16s(&values))]);
    let index = br#"{"metadata": {}, "weight_map": {"b.weight": "2.safetensors", "a.weight": "1.safetensors"}}"#;
    let files = [
        ("1.safetensors", &first[..]),
        ("2.safetensors", &second),
        ("model.safetensors.index.json", index),
        ("config.json", br#"{"model_type": "llama"}"#),
    ];
    let (_dir, source, out) = folder(&files);
    let report = how(4, "group:4").run(&source, &out, &()).unwrap();
    let names: Vec<&str> = report.quantized.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["a.weight", "b.weight"]);
    assert_eq!(fs::read(out.join("model.safetensors.index.json")).unwrap(), index);
    assert_eq!(fs::read(out.join("config.json")).unwrap(), files[3].1);
    assert!(report.files_left_out.is_empty());

    let alone = out.with_file_name("alone");
    how(4, "group:4").run(&source.join("2.safetensors"), &alone, &()).unwrap();
    // The file, and the configuration beside it.
    assert_eq!(fs::read_dir(&alone).unwrap().count(), 2);
    assert_eq!(fs::read(alone.join("config.json")).unwrap(), files[3].1);
    let read = |path: &Path| fs::read(path.join("2.safetensors")).unwrap();
    assert_eq!(read(&alone), read(&out));
    assert_ne!(read(&out), second);
}

#[test]
fn other_formats_become_one_safetensors_file() {
    let values = waves(16);
    // In NumPy's format: a matrix, and a list of integers.
    let array = |descr: &str, shape: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    };
    let (_dir, source, out) = folder(&[
        ("w.npy", &array("<f4", "(4, 4)", &f32s(&values))),
        ("config.json", b"{}"),
        ("old.h5", b"other weights"),
    ]);
    let report = how(4, "channel").run(&source, &out, &()).unwrap();
    assert_eq!(
        (&*report.quantized[0].name, &report.files_left_out[..]),
        ("w", &["old.h5".to_owned()][..])
    );
    let same = file(&[("w", Dtype::F32, &[4, 4], f32s(&values))]);
    let (_other, from, to) = folder(&[("model.safetensors", &same), ("config.json", b"{}")]);
    how(4, "channel").run(&from, &to, &()).unwrap();
    let written = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(written(&out), written(&to));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "the weights and the configuration");

    let ids = source.join("ids.npy");
    fs::write(&ids, array("<i8", "(3,)", &[7; 24])).unwrap();
    let kept = how(4, "channel").run(&ids, &out.with_file_name("ids"), &()).unwrap();
    assert_eq!((kept.untouched[0].reason, &*kept.untouched[0].dtype), (Reason::ElementType, "I64"));
    let bytes = written(&out.with_file_name("ids"));
    assert_eq!(bytes[bytes.len() - 24..], [7; 24]);
    fs::write(&ids, array("<U3", "(1,)", &[0; 12])).unwrap();
    let error = how(4, "channel").run(&ids, &out.with_file_name("text"), &()).unwrap_err();
    let expected = "tensor `ids`: there is no way to keep numpy <U3 elements in a safetensors file";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn settings_and_tensors_that_do_not_go_together() {
    let matrix = |values: &[f32]| file(&[("a.weight", Dtype::F32, &[2, 6], f32s(values))]);
    let good = matrix(&waves(12));
    assert_eq!(
        error(&how(4, "group:4"), &good),
        "tensor `a.weight`: 6 inputs are no multiple of the group size 4, expected one, or `group:4:pad`"
    );
    assert!(error(&how(4, "channel:0"), &good).contains("the outputs are `channel:1`"));
    assert!(error(&how(4, "token"), &good).contains("a weight has no tokens"));
    assert!(error(&how(4, "channel:2"), &good).starts_with("`axis` is 2"));
    assert!(error(&how(1, "channel"), &good).starts_with("the grid `symmetric` has no codes of 1"));
    assert!(error(&how(32, "channel"), &good).contains("no codes of 32 bits"));
    for (value, shown) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let mut values = waves(12);
        values[7] = value;
        assert_eq!(
            error(&how(4, "channel"), &matrix(&values)),
            format!("tensor `a.weight`: value 7 is {shown}, expected a finite number")
        );
    }
}

#[test]
fn files_that_are_no_checkpoint() {
    let how = how(4, "channel");
    let good = file(&[("a.weight", Dtype::F32, &[2, 2], f32s(&[1.0, 2.0, 3.0, 4.0]))]);
    let mut long = good.clone();
    long.push(0);
    let cases = [
        (&good[..5], "5 bytes, expected at least 8"),
        (&good[..good.len() - 1], "15 bytes of tensors, but the header describes 16"),
        (&long, "17 bytes of tensors, but the header describes 16"),
        (&[255; 20], "a header of 18446744073709551615 bytes, expected at most 12"),
    ];
    for (bytes, reason) in cases {
        assert_eq!(error(&how, bytes), format!("`/source/model.safetensors`: {reason}"));
    }

    let said = |files: &[(&str, &[u8])], place: &str| {
        let (dir, source, out) = folder(files);
        let error = how.run(&source.join(place), &out, &()).unwrap_err().to_string();
        error.replace(&dir.path().display().to_string(), "")
    };
    let index = "model.safetensors.index.json";
    assert!(said(&[("notes.txt", b"")], "").contains("holds no weights, expected"));
    assert!(said(&[], "none").starts_with("cannot open `/source/none`"));
    assert!(said(&[(index, b"{}")], "").contains("missing field `weight_map`"));
    let outside = br#"{"weight_map": {"a": "../model.safetensors"}}"#;
    let expected = "`../model.safetensors` is no file with weights beside the index";
    assert!(said(&[(index, outside)], "").ends_with(expected));
    let missing = br#"{"weight_map": {"a": "1.safetensors"}}"#;
    assert!(said(&[(index, missing)], "").starts_with("cannot open `/source/1.safetensors`"));
}

#[test]
fn an_existing_folder_is_refused_and_an_interrupted_pass_leaves_nothing() {
    struct Impatient;
    impl Progress for Impatient {
        fn begin(&self, _task: &str, _unit: &'static str, total: u64) {
            assert_eq!(total, 2);
        }
        fn update(&self, done: u64, _note: &str) -> ControlFlow<()> {
            if done == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
        fn end(&self) {}
    }
    let values = f32s(&[1.0, 2.0, 3.0, 4.0]);
    let entries = ["a", "b"].map(|name| (name, Dtype::F32, &[2, 2][..], values.clone()));
    let (_dir, source, out) = folder(&[("model.safetensors", &file(&entries))]);
    let how = how(4, "channel");
    assert!(matches!(how.run(&source, &out, &Impatient), Err(QuantizeError::Interrupted)));
    assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 0);
    how.run(&source, &out, &()).unwrap();
    let error = how.run(&source, &out, &()).unwrap_err().to_string();
    assert!(error.ends_with("deep/out` exists, expected the name of a new folder"), "{error}");
}
