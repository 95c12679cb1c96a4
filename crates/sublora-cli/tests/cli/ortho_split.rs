//! `sublora ortho split`, and what is evaluated and generated of what it writes.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::messages::{check, transcript};
use crate::ortho::gpt2;
use crate::{done, sublora, text};

/// A GPT-2 of one block beside a corpus.
fn prepared() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("text.jsonl"), text::json_lines(8)).unwrap();
    done(at, "corpus build --input text.jsonl --tokenizer byte --val-fraction 0.3 --out corpus");
    fs::write(at.join("qat.toml"), "[train]\nbatch = 2\nseq = 24\n").unwrap(); // windows that calibrate
    gpt2(&at.join("gpt2"));
    folder
}

/// What `eval` says of a folder, as JSON.
fn eval(at: &Path, line: &str) -> Vec<Value> {
    serde_json::from_str(&done(at, &format!("eval {line} --corpus corpus --documents 2 --json")))
        .unwrap()
}

/// Of a GPT-2 folder, unquantised.
fn plain(at: &Path, folder: &str) -> f64 {
    let found = eval(at, &format!("{folder} --precision 8,32 --config qat.toml"));
    let found = found.iter().find(|it| it["bits"] == 32).unwrap();
    found["nats_per_token"].as_f64().unwrap()
}

fn nats(found: &[Value]) -> Vec<f64> {
    found.iter().map(|it| it["nats_per_token"].as_f64().unwrap()).collect()
}

fn is_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
}

#[test]
fn a_split_model_at_every_alpha() {
    let folder = prepared();
    let at = folder.path();
    done(at, "ortho split gpt2 --construction clamp --ratio 0.05 --budget 1 --out clamp");
    let found = eval(at, "clamp --alpha 1,0.5,0");
    let [all, some, none] = nats(&found)[..].try_into().unwrap();
    is_near(all, plain(at, "gpt2"));
    assert!((all - none).abs() > 1e-3 && (some - none).abs() > 1e-4, "{all} {some} {none}");
    assert_eq!(found[0]["tokens"], found[2]["tokens"]);
    // Without gains both ends; beyond them if that is asked for; one layer alone.
    let ends = eval(at, "clamp");
    assert_eq!(nats(&ends), [none, all]);
    let beyond = eval(at, "clamp --alpha -0.5,1.5 --extrapolate");
    assert!(nats(&beyond).iter().all(|&it| (it - all).abs() > 1e-4 && it.is_finite()));
    let own =
        eval(at, "clamp --alpha 1 --layer-alpha h.0.attn.c_attn=0 --layer-alpha h.0.mlp.c_fc=0.5");
    let layers = serde_json::json!({ "h.0.attn.c_attn": 0.0, "h.0.mlp.c_fc": 0.5 });
    assert_eq!(own[0]["layers"], layers);
    assert!((nats(&own)[0] - all).abs() > 1e-4);
    let others = ["h.0.attn.c_proj", "h.0.mlp.c_fc", "h.0.mlp.c_proj"]
        .map(|layer| format!(" --layer-alpha {layer}=1"));
    let one = format!("clamp --alpha 0{} --layer-alpha h.0.attn.c_attn=1", others.concat());
    assert_eq!(nats(&eval(at, &one)), [all]);
    let strides = eval(at, "clamp --alpha 1 --stride 0,12");
    assert_eq!(strides.iter().map(|it| &it["stride"]).collect::<Vec<_>>(), [24, 12]);

    let table = done(at, "eval clamp --corpus corpus --layer-alpha h.0.mlp.c_fc=0.5 --alpha 1");
    let parts =
        ["| alpha |", "| nats/token |", "h.0.mlp.c_fc       alpha 0.5 in all rows", "context 24"];
    assert!(parts.iter().all(|it| table.contains(it)), "{table}");
    let draw = |line: &str| {
        done(
            at,
            &format!(
                "generate clamp --corpus corpus --prompt the --tokens 12 --temperature 0 {line}"
            ),
        )
    };
    assert_eq!(draw(""), draw("--alpha 1"));
}

/// The same integers and scales by two commands.
#[test]
fn without_outliers_an_int8_base_is_the_quantised_checkpoint() {
    let folder = prepared();
    let at = folder.path();
    done(at, "ortho split gpt2 --base int8 --out int8");
    let quantize = "quantize gpt2 --bits 8 --granularity channel --range min-max --emulate f16";
    done(at, &format!("{quantize} --out quantised"));
    let [none] = nats(&eval(at, "int8 --alpha 0"))[..].try_into().unwrap();
    is_near(none, plain(at, "quantised"));
    assert!((none - plain(at, "gpt2")).abs() > 1e-5);
}

#[test]
fn what_is_said_of_splits() {
    let folder = prepared();
    let at = folder.path();
    fs::copy(at.join("gpt2/model.safetensors"), at.join("model.safetensors")).unwrap();
    let lines = [
        "ortho split gpt2 --base int4 --out split",
        "ortho split gpt2 --out inert",
        "ortho split gpt2 --base int8 --ratio 0.02 --out split",
        "ortho split gpt2 --base int8 --out split",
        "ortho split model.safetensors --out other",
        "ortho split gpt2 --orientation linear --out other",
        "ortho split gpt2 --select hessian --out other",
        "ortho split gpt2 --select fisher --out other",
        "eval split --corpus corpus --alpha 1.5",
        "eval split --corpus corpus --alpha inf --extrapolate",
        "eval split --corpus corpus --layer-alpha h.1.mlp.c_fc=0",
        "eval split --corpus corpus --layer-alpha h.0.mlp.c_fc",
        "eval split --corpus corpus --layer-alpha h.0.mlp.c_fc=0 --layer-alpha h.0.mlp.c_fc=1",
        "eval split --corpus corpus --blocks all",
        "eval split --corpus corpus --stride 25",
        "eval split --corpus corpus --precision 8",
        "eval gpt2 --corpus corpus --alpha 0",
        "eval gpt2 --corpus corpus --documents 1",
        "generate gpt2 --corpus corpus --layer-alpha h.0.mlp.c_fc=0",
        "generate split --corpus corpus --alpha -1",
    ];
    let said = transcript(&folder, &lines).replace('\\', "/");
    check("ortho_split", &said);
    assert!(!at.join("other").exists());

    // The file of another version, and one that is not as it was.
    let path = at.join("split/ortho.safetensors");
    let whole = fs::read(&path).unwrap();
    let version = br#"version\":1"#;
    let place = whole.windows(version.len()).position(|it| it == version).unwrap();
    let mut other = whole.clone();
    other[place + version.len() - 1] = b'9';
    fs::write(&path, other).unwrap();
    let shown = sublora(at, "eval split --corpus corpus");
    let expected =
        "`split/ortho.safetensors` was written by version 9 of the format, this program reads 1";
    assert!(shown.code == 2 && shown.stderr.replace('\\', "/").contains(expected), "{shown:?}");
    assert!(shown.stderr.contains("hint: `sublora ortho split` of this program"), "{shown:?}");
    let mut other = whole;
    *other.last_mut().unwrap() ^= 1;
    fs::write(&path, other).unwrap();
    let shown = sublora(at, "eval split --corpus corpus");
    let expected =
        "`split/ortho.safetensors` is no valid file of bases and outliers: the base of `h.0.";
    assert!(shown.code == 2 && shown.stderr.replace('\\', "/").contains(expected), "{shown:?}");
    assert!(shown.stderr.contains("hint: the file is not as it was written"), "{shown:?}");
}
