//! Throughput of building a corpus, in MB of text per second.
//!
//! ```text
//! cargo bench --profile dev -p corpus --bench build -- TEXT.jsonl
//! ```
//! `--profile dev` is the one optimised profile of the workspace. Without a file the text is made up,
//! which is no measure of real text: `scripts/bench_tiktoken.py` makes a file of real text and runs
//! Python's tiktoken on it too. Columns are separated by tabs; the hash is over the tokens of all
//! documents as `u16`, little-endian.

#![expect(clippy::print_stdout, reason = "a benchmark reports")]

use std::error::Error;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Instant;

use corpus::{AnyTokenizer, BuildConfig, Byte, Gpt2, IfExists, Sha256Hash, Source};
use counter_rng::Key;
use rayon::ThreadPoolBuilder;
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    text: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // Cargo adds `--bench`.
    let path = match std::env::args().skip(1).find(|argument| !argument.starts_with("--")) {
        Some(path) => PathBuf::from(path),
        None => made_up(dir.path().join("text.jsonl"))?,
    };
    let lines = std::fs::read_to_string(&path)?;
    let documents = lines
        .lines()
        .map(|line| Ok(serde_json::from_str::<Line>(line)?.text))
        .collect::<Result<Vec<String>, serde_json::Error>>()?;
    let bytes: usize = documents.iter().map(String::len).sum();
    println!("{} documents, {bytes} bytes of text", documents.len());
    println!("what\tMB/s\ttokens\tsha256");
    let report = |what: &str, start: Instant, tokens: &[u32]| {
        let seconds = start.elapsed().as_secs_f64();
        let encoded: Vec<u8> = tokens
            .iter()
            .flat_map(|&token| u16::try_from(token).unwrap_or(0).to_le_bytes())
            .collect();
        let (speed, hash) = (bytes as f64 / 1e6 / seconds, Sha256Hash::of(&[&encoded]));
        println!("{what}\t{speed:.2}\t{}\t{hash}", tokens.len());
    };

    // One core. The slow obvious version first.
    let baseline = tiktoken_rs::r50k_base()?;
    let start = Instant::now();
    let tokens: Vec<u32> =
        documents.iter().flat_map(|text| baseline.encode_ordinary(text)).collect();
    report("tiktoken-rs, 1 thread", start, &tokens);
    for tokenizer in [AnyTokenizer::from(Gpt2 {}), Byte {}.into()] {
        let name = tokenizer.name();
        let tokenizer = tokenizer.as_dyn().load()?;
        let mut tokens = Vec::with_capacity(bytes);
        let start = Instant::now();
        for text in &documents {
            tokenizer.encode(text, &mut tokens)?;
        }
        report(&format!("{name}, 1 thread"), start, &tokens);
    }

    // From JSON Lines to a corpus on disk: parsing, hashing, duplicates and writing included.
    for threads in [1, std::thread::available_parallelism()?.get()] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        let config = BuildConfig {
            bad_documents: corpus::BadDocuments::Skip,
            val_fraction: 0.01,
            ..BuildConfig::default()
        };
        let start = Instant::now();
        let source = [Source::JsonLines(path.clone())];
        let out = dir.path().join("out");
        let corpus = pool.install(|| config.build(&source, &out, IfExists::Replace, &()))?;
        let seconds = start.elapsed().as_secs_f64();
        let manifest = corpus.manifest();
        let tokens = manifest.train.tokens + manifest.val.tokens;
        let speed = bytes as f64 / 1e6 / seconds;
        println!("gpt2 corpus, {threads} threads\t{speed:.2}\t{tokens}\t{}", manifest.sha256);
    }
    Ok(())
}

/// Words of a few syllables, some of them rare.
fn made_up(path: PathBuf) -> Result<PathBuf, Box<dyn Error>> {
    let mut words = Key::from_seed(0).words(0);
    let mut below = |bound: u64| words.below(NonZeroU64::MIN.saturating_add(bound - 1));
    let syllables: Vec<char> = "taleniroseman".chars().collect();
    let mut lines = String::new();
    for _ in 0..4_000 {
        let mut text = String::new();
        for _ in 0..600 {
            for _ in 0..2 + below(8) {
                text.extend(syllables.get(usize::try_from(below(13))?));
            }
            text.push_str([" ", " ", " ", ", ", ". ", "\n"][usize::try_from(below(6))?]);
        }
        lines += &serde_json::json!({ "text": text }).to_string();
        lines.push('\n');
    }
    std::fs::write(&path, lines)?;
    Ok(path)
}
