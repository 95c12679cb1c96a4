//! `sublora ortho diagnose`: which bases it refuses, for what, and what it says to those who ask for less or more.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use counter_rng::Key;
use serde_json::Value;

use crate::messages::{check, transcript};
use crate::{done, sublora, text};

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

/// A safetensors file of `F32`.
fn safetensors(tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|it| it.to_le_bytes()));
        let end = data.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    let length = (header.len() as u64).to_le_bytes();
    length.into_iter().chain(header.into_bytes()).chain(data).collect()
}

/// Three matrices of 512 inputs: with heavy tails, without any, and of zeros and ones; beside them an embedding.
fn three() -> Vec<u8> {
    let cubes = normal(1, 16 * 512).into_iter().map(|x| x * x * x).collect();
    let bits = uniform(3, 16 * 512).into_iter().map(|it| f32::from(it > 0.0)).collect();
    safetensors(&[
        ("binary.weight", &[16, 512], bits),
        ("heavy.weight", &[16, 512], cubes),
        ("uniform.weight", &[16, 512], uniform(2, 16 * 512)),
        ("wte.weight", &[4, 16], vec![1.0; 64]),
    ])
}

/// A clipped, a coarse and an inert layer, what was published, and every other way to be told no.
#[test]
fn bases_that_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("model.safetensors"), three()).unwrap();
    let other = safetensors(&[("other.weight", &[16, 512], uniform(4, 16 * 512))]);
    fs::write(at.join("other.safetensors"), other).unwrap();
    fs::write(
        at.join("bulk.toml"),
        "[split.base]\nkind = \"bulk\"\nbits = 4\nlow = 0.01\nhigh = 0.99\n",
    )
    .unwrap();
    fs::write(at.join("typo.toml"), "budgets = 0.1\n").unwrap();
    let lines = [
        "ortho diagnose model.safetensors --config bulk.toml --out diagnosis",
        "ortho diagnose model.safetensors --base int4 --skip uniform* --skip binary* --budget 0.1 --detail",
        "ortho diagnose model.safetensors --construction extract --ratio 0.05 --skip heavy*",
        "ortho diagnose model.safetensors",
        "ortho diagnose model.safetensors --base mixed --set split.base.budget=0.001 --budget 0.001 --skip heavy*",
        "ortho diagnose model.safetensors --construction delta",
        "ortho diagnose model.safetensors --construction delta --pretrained other.safetensors",
        "ortho diagnose model.safetensors --select hessian",
        "ortho diagnose model.safetensors --select fisher",
        "ortho diagnose model.safetensors --select iqr --ratio 0.1",
        "ortho diagnose model.safetensors --ratio 1.5",
        "ortho diagnose model.safetensors --base int5",
        "ortho diagnose model.safetensors --budget=-1",
        "ortho diagnose model.safetensors --config typo.toml",
        "ortho diagnose model.safetensors --skip *",
        "ortho diagnose missing.safetensors",
    ];
    let said = transcript(&folder, &lines).replace('\\', "/").replace(
        "The system cannot find the file specified. (os error 2)",
        "No such file or directory (os error 2)",
    );
    check("ortho", &said);
    let rules = fs::read_to_string(at.join("diagnosis/rules.csv")).unwrap();
    let is_published = |line: &str| line.contains(",8,true,") || line.contains(",4,true,");
    let published = rules.lines().filter(|it| it.starts_with("uniform") && is_published(it));
    assert_eq!(published.count(), 7);
    assert!(
        fs::read_to_string(at.join("diagnosis/report.html")).unwrap().contains("2 of 3 matrices")
    );
}

/// A GPT-2 of one block over bytes, whose weights are numbers of half precision.
pub(crate) fn gpt2(folder: &Path) {
    let config = r#"{"model_type": "gpt2", "vocab_size": 257, "n_positions": 24, "n_embd": 16, "n_layer": 1, "n_head": 2, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}"#;
    let weights: [(&str, &[usize]); 16] = [
        ("wte.weight", &[257, 16]),
        ("wpe.weight", &[24, 16]),
        ("h.0.ln_1.weight", &[16]),
        ("h.0.ln_1.bias", &[16]),
        ("h.0.attn.c_attn.weight", &[16, 48]),
        ("h.0.attn.c_attn.bias", &[48]),
        ("h.0.attn.c_proj.weight", &[16, 16]),
        ("h.0.attn.c_proj.bias", &[16]),
        ("h.0.ln_2.weight", &[16]),
        ("h.0.ln_2.bias", &[16]),
        ("h.0.mlp.c_fc.weight", &[16, 64]),
        ("h.0.mlp.c_fc.bias", &[64]),
        ("h.0.mlp.c_proj.weight", &[64, 16]),
        ("h.0.mlp.c_proj.bias", &[16]),
        ("ln_f.weight", &[16]),
        ("ln_f.bias", &[16]),
    ];
    let tensors = weights.map(|(name, shape)| {
        let values = normal(name.len() as u64, shape.iter().product());
        (name, shape, values.into_iter().map(|it| (204.8 * it).round() / 1024.0).collect())
    });
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("config.json"), config).unwrap();
    fs::write(folder.join("model.safetensors"), safetensors(&tensors)).unwrap();
}

#[test]
fn what_a_model_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("text.jsonl"), text::json_lines(8)).unwrap();
    fs::write(at.join("model.safetensors"), three()).unwrap();
    done(at, "corpus build --input text.jsonl --tokenizer byte --val-fraction 0.3 --out corpus");
    gpt2(&at.join("gpt2"));
    let line = "ortho diagnose gpt2 --corpus corpus --base int8 --select hessian --json";
    let found: Value = serde_json::from_str(&done(at, line)).unwrap();
    let report = &found["report"];
    let inputs = &report["inputs"];
    assert_eq!((&inputs["windows"], &inputs["window"]), (&Value::from(4), &Value::from(24)));
    let layers = report["layers"].as_array().unwrap();
    let mut said = String::new();
    for layer in layers {
        let heard = layer["activations"].as_f64().unwrap();
        assert!(heard > 0.0 && heard < 0.05, "{layer}");
        writeln!(said, "{} {}", layer["name"], layer["verdict"]).unwrap();
    }
    let expected = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
        .map(|name| format!("\"h.0.{name}.weight\" \"pass\"\n"));
    assert_eq!(said, expected.concat());
    // Refused on stderr, while stdout stays JSON.
    let shown = sublora(at, "ortho diagnose gpt2 --corpus corpus --base int4 --budget 0.01 --json");
    assert_eq!(shown.code, 1);
    assert!(shown.stderr.starts_with("error: refuses to patch 4 of 4 layers"), "{}", shown.stderr);
    assert!(serde_json::from_str::<Value>(&shown.stdout).is_ok());
    // What is no GPT-2 reads nothing.
    let shown = sublora(at, "ortho diagnose model.safetensors --corpus corpus");
    assert!(shown.code == 2 && shown.stderr.contains("\nhint: "), "{shown:?}");
}
