//! Help, listings and what is said to users who made a mistake: exit code, stdout and stderr together.
//!
//! `INSTA_UPDATE=always cargo test --workspace --test cli` writes the snapshots anew.

use std::fmt::Write as _;
use std::fs;

use tempfile::TempDir;

use crate::{Shown, done, sublora, text};

/// Calls and what they showed, one after the other.
pub(crate) fn transcript(folder: &TempDir, lines: &[&str]) -> String {
    let mut transcript = String::new();
    for line in lines {
        let Shown { code, stdout, stderr } = sublora(folder.path(), line);
        write!(transcript, "$ sublora {line}\n{stdout}").unwrap();
        if !stderr.is_empty() {
            write!(transcript, "--- stderr\n{stderr}").unwrap();
        }
        write!(transcript, "--- exit {code}\n\n").unwrap();
    }
    transcript
}

pub(crate) fn check(name: &str, transcript: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, transcript));
}

#[test]
fn help() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        "--help",
        "quickstart --help",
        "corpus build --help",
        "train --help",
        "certify --help",
        "sweep --help",
        "report --help",
        "verify --help",
        "eval --help",
        "generate --help",
        "quantize --help",
        "spectral --help",
        "ortho --help",
        "ortho diagnose --help",
        "ortho split --help",
        "schedule table --help",
        "schedule plot --help",
    ];
    check("help", &transcript(&folder, &lines));
}

/// A safetensors file with a `Conv1D`, an embedding and a bias; `last` ends the `Conv1D`.
fn checkpoint(last: f32) -> Vec<u8> {
    let header = br#"{"h.0.mlp.c_proj.weight":{"dtype":"F32","shape":[4,2],"data_offsets":[0,32]},"wte.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[32,48]},"ln_f.bias":{"dtype":"F32","shape":[2],"data_offsets":[48,56]}}"#;
    let weight = [1.0, 0.25, -0.75, 0.0, 0.125, -0.25, 0.5, last];
    let values = [&weight[..], &[1.0; 6]].concat();
    let values = values.iter().flat_map(|it: &f32| it.to_le_bytes());
    let length = (header.len() as u64).to_le_bytes();
    length.into_iter().chain(header.iter().copied()).chain(values).collect()
}

#[test]
fn quantize() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("model")).unwrap();
    fs::write(at.join("model/model.safetensors"), checkpoint(0.25)).unwrap();
    fs::write(at.join("model/config.json"), r#"{"model_type": "gpt2"}"#).unwrap();
    fs::write(at.join("model/pytorch_model.bin"), "").unwrap();
    fs::write(at.join("nan.safetensors"), checkpoint(f32::NAN)).unwrap();
    let lines = [
        "quantize model --bits 2 --granularity channel --range min-max --out q2",
        "quantize model --bits 3 --granularity group:2 --range min-max --quantize-embeddings --out q3 --json",
        "quantize model --out q2",
        "quantize model --bits 2 --granularity channel --set range.exponent=1 --emulate bf16 --out q4",
        "quantize model --granularity channel --set range.exponent=99 --out q5",
        "quantize model --granularity channel --set range.exponents=1 --out q5",
        "quantize model --granularity group:3 --out q5",
        "quantize model --granularity row --out q5",
        "quantize model --bits 32 --out q5",
        "quantize model --range best --out q5",
        "quantize nan.safetensors --granularity channel --out q5",
        "quantize q2/config.json --out q5",
    ];
    // The last digits of a logarithm are the machine's.
    let short = |line: &str| match line.rsplit_once('.') {
        Some((whole, digits)) if line.starts_with(' ') && digits.len() > 12 => {
            format!("{whole}.{}..,\n", &digits[..10])
        }
        _ => format!("{line}\n"),
    };
    let said: String = transcript(&folder, &lines).lines().map(short).collect();
    check("quantize", &said.replace('\\', "/"));
    assert!(at.join("q2/config.json").exists() && !at.join("q5").exists());
}

#[test]
fn spectral() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("model.safetensors"), matrices()).unwrap();
    let lines = [
        "spectral model.safetensors --quantize 8,2 --bootstrap 20 --noise 3 --out spectra",
        "spectral model.safetensors --quantize 2 --bootstrap 0 --noise 0 --fail-on collapsed>0 --fail-on 2bit-tensor:failed>5",
        "spectral model.safetensors --mode compat --bootstrap 0 --fail-on plain_means.alpha>6 --fail-on plain_means.mp_softrank<1",
        "spectral model.safetensors --quantize 8 --bootstrap 0 --noise 0 --paired 20 --out paired",
        "spectral model.safetensors --fail-on alpha>6",
        "spectral model.safetensors --fail-on collapsed",
        "spectral model.safetensors --quantize 4,4",
        "spectral model.safetensors --set comparison.limits.snr=6",
        "spectral model.safetensors other/model.safetensors --out both",
        "spectral model.gguf",
        "spectral spectra/summary.json",
    ];
    let said = transcript(&folder, &lines).replace('\\', "/");
    check("spectral", &said);
    assert!(at.join("spectra/report.html").exists() && !at.join("both").exists());
    let intervals = |folder: &str| {
        fs::read_to_string(at.join(folder).join("report.html")).unwrap().contains("delta_alpha_lo")
    };
    assert!(intervals("paired") && !intervals("spectra"));
}

/// Two matrices whose spectra are known to three digits everywhere, and a bias.
#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn matrices() -> Vec<u8> {
    let header = br#"{"a.weight":{"dtype":"F32","shape":[40,32],"data_offsets":[0,5120]},"b.weight":{"dtype":"F32","shape":[24,64],"data_offsets":[5120,11264]},"b.bias":{"dtype":"F32","shape":[64],"data_offsets":[11264,11520]}}"#;
    let waves = (0..2_880_u32).map(|i| {
        let x = f64::from(i);
        ((x * x * 0.37).sin() + (x * 0.11).cos()) as f32
    });
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(waves.flat_map(f32::to_le_bytes));
    bytes
}

/// From the configuration of the repository to tables and a page, and what is refused.
#[test]
fn schedule() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("cpt.toml"), include_str!("../../../../configs/schedule-cpt.toml")).unwrap();
    let wide = "[precision]\nwidths = [8, 17, 32]\nschedule = { kind = \"random\" }\n";
    let tiny = "[model]\nn_layer = 2\nn_head = 2\nn_embd = 8\nvocab_size = 10\nseq = 4\nblock_lora_rank = 1\n[cost]\nbase = \"frozen\"\n";
    fs::write(at.join("wide.toml"), wide.to_owned() + tiny).unwrap();
    let full = "[cost]\nlinear = { weight = 32, activation = 32, gradient = 32 }\n";
    fs::write(at.join("full.toml"), full).unwrap();
    fs::write(at.join("typo.toml"), "[precision]\nwidth = [4, 8]\n").unwrap();
    fs::write(at.join("kind.toml"), "[precision]\nschedule = { kind = \"cpt\" }\n").unwrap();
    fs::write(at.join("heads.toml"), "[model]\nn_head = 5\n").unwrap();
    let lines = [
        "schedule table cpt.toml",
        "schedule table wide.toml --steps 1000 --json",
        "schedule table full.toml",
        "schedule plot cpt.toml --out plots",
        "schedule plot cpt.toml --steps 100 --out short.html --json",
        "schedule",
        "schedule table",
        "schedule plot cpt.toml",
        "schedule table missing.toml",
        "schedule table typo.toml",
        "schedule table kind.toml",
        "schedule table heads.toml",
        "schedule table cpt.toml --steps 7",
        "schedule table cpt.toml --steps 0",
    ];
    let said = transcript(&folder, &lines).replace('\\', "/").replace(
        "The system cannot find the file specified. (os error 2)",
        "No such file or directory (os error 2)",
    );
    check("schedule", &said);
    let page = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    assert!(page("plots/schedule.html").contains("over 64000 steps"));
    assert!(page("short.html").contains("over 100 steps"));
}

#[test]
fn listings() {
    let folder = tempfile::tempdir().unwrap();
    check("list", &transcript(&folder, &["list", "list codebooks --json"]));
}

#[test]
fn user_errors() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("text.jsonl"), text::json_lines(5)).unwrap();
    fs::write(at.join("bad.jsonl"), "{\"text\": \"fine\"}\n{\"txt\": \"not\"}\n").unwrap();
    fs::write(at.join("typo.toml"), "[train]\nstep = 5\n").unwrap();
    fs::write(at.join("kind.toml"), "[sublora]\nprojector = { kind = \"kron\" }\n").unwrap();
    fs::write(at.join("tiny.toml"), "[model]\nsize = \"tiny\"\n").unwrap();
    done(at, "corpus build --input text.jsonl --tokenizer byte --val-fraction 0 --out corpus");
    fs::create_dir(at.join("run")).unwrap();
    fs::write(at.join("run/config.toml"), "[model]\nsize = \"tiny\"\n").unwrap();
    let lines = [
        "",
        "tran",
        "train --config typo.toml --corpus corpus --out new",
        "train --config kind.toml --corpus corpus --out new",
        "train --config missing.toml --corpus corpus --out new",
        "train --config tiny.toml --corpus corpus --out new --set train.seq=0",
        "train --config tiny.toml --corpus corpus --out new --set model.size=tny",
        "train --config tiny.toml --corpus corpus --out new --set train.seq",
        "train --config tiny.toml --corpus missing --out new",
        "train --config tiny.toml --corpus corpus --out run",
        "train --config tiny.toml --corpus corpus --out new --device gpu",
        "train --config tiny.toml --corpus corpus --out new --device flex:x",
        "train --config tiny.toml --corpus corpus --out new --device flex:7",
        "quickstart --out corpus",
        "corpus build --input text.jsonl --tokenizer byte --out corpus",
        "corpus build --input text.jsonl --tokenizer bytes --out other",
        "corpus build --input bad.jsonl --tokenizer byte --out other",
        "corpus build --input missing.txt --tokenizer byte --out other",
        "corpus build --input tiny.toml --tokenizer byte --out other",
        "corpus inspect run",
        "compress run --corpus corpus",
        "certify run --corpus corpus",
        "certify run --corpus corpus --sample some",
        "certify run --corpus corpus --sample 0",
        "certify missing --corpus corpus",
        "generate run --corpus corpus --temperature=-1",
        "verify missing.json",
        "verify run/config.toml",
        "list optimizers",
    ];
    let said = transcript(&folder, &lines);
    for call in said.split("$ sublora ").filter(|call| call.contains("\nerror: ")) {
        let clap = call.contains("For more information, try '--help'.");
        assert!(clap || call.contains("\nhint: "), "no way out: {call}");
    }
    // The words of another system.
    let said = said.replace('\\', "/").replace(
        "The system cannot find the file specified. (os error 2)",
        "No such file or directory (os error 2)",
    );
    check("user_errors", &said);
}

/// A sweep that is refused, in every way there is.
#[test]
fn sweep_errors() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("text.jsonl"), text::json_lines(5)).unwrap();
    done(at, "corpus build --input text.jsonl --tokenizer byte --val-fraction 0 --out corpus");
    let sweep = "seeds = [1]\nintrinsic_dim = [4]\n[run.model]\nsize = \"tiny\"\n[run.lora]\n[run.train]\nseq = 32\n";
    let mode = |settings: &str| format!("{sweep}[[mode]]\n{settings}\n");
    fs::write(at.join("plain.toml"), mode("name = \"plain\"")).unwrap();
    fs::write(at.join("typo.toml"), mode("name = \"odd\"\nprojector = { kind = \"kron\" }"))
        .unwrap();
    fs::write(at.join("twice.toml"), mode("name = \"a\"\n[[mode]]\nname = \"a\"")).unwrap();
    fs::write(at.join("run.toml"), "[model]\nsize = \"tiny\"\n").unwrap();
    fs::create_dir(at.join("run")).unwrap();
    fs::write(at.join("run/config.toml"), "[model]\nsize = \"tiny\"\n").unwrap();
    let sweep = "sweep --corpus corpus --config";
    let lines = [
        "sweep",
        "sweep --config missing.toml --corpus corpus --out new",
        "sweep --config run.toml --corpus corpus --out new",
        "sweep --config typo.toml --corpus corpus --out new",
        "sweep --config twice.toml --corpus corpus --out new",
        "sweep --config plain.toml --corpus missing --out new",
        "sweep --config plain.toml --corpus corpus --out run",
        "sweep --config plain.toml --corpus corpus --out new --set seeds=[]",
        "sweep --config plain.toml --corpus corpus --out new --set run.seed=7",
        "sweep --config plain.toml --corpus corpus --out new --set run.train.seq=2000",
        "sweep --config plain.toml --corpus corpus --out new --set run.lora.dropout=0.1 --jobs 2 --memory 1",
        "sweep --config plain.toml --corpus corpus --out new --collect",
        "sweep --config plain.toml --corpus corpus --out new --task 1",
        "sweep --config plain.toml --corpus corpus --out new --jobs 0",
        "sweep --config plain.toml --corpus corpus --out new --memory none",
        "sweep --config plain.toml --corpus corpus --out new --slurm --collect",
    ];
    let mut said = transcript(&folder, &lines);
    // The folder is a sweep from here on, and one that was not collected.
    done(at, &format!("{sweep} plain.toml --out new --slurm"));
    fs::create_dir(at.join("odd")).unwrap();
    fs::write(at.join("odd/sweep.json"), "{\"format\": \"sublora\", \"version\": 1}").unwrap();
    let lines = [
        "sweep --config plain.toml --corpus corpus --out new --set run.lora.rank=2",
        "report",
        "report missing",
        "report run",
        "report new",
        "report odd",
    ];
    said += &transcript(&folder, &lines);
    let said = said.replace('\\', "/").replace(
        "The system cannot find the file specified. (os error 2)",
        "No such file or directory (os error 2)",
    );
    check("sweep_errors", &said);
}

#[cfg(not(feature = "rocm"))]
#[test]
fn a_backend_that_is_not_compiled_in() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text.jsonl"), text::json_lines(5)).unwrap();
    done(folder.path(), "corpus build --input text.jsonl --tokenizer byte --out corpus");
    fs::write(folder.path().join("tiny.toml"), "[model]\nsize = \"tiny\"\n").unwrap();
    let line = "train --config tiny.toml --corpus corpus --out new --device rocm:1";
    check("backend", &transcript(&folder, &[line]));
}
