//! The 49 matrices of GPT-2 small, read from a file: seconds and peak memory of whole analyses.
//!
//! `cargo bench -p spectral --bench gpt2_small -- FILE ANALYSIS [--threads 2]` reads the safetensors
//! FILE, which it writes first if there is none (seeded, normal entries), and runs ANALYSIS: `strict`
//! or `compat`, each with `+random` for the Marchenko-Pastur fit and the permutations. One matrix a
//! thread is in memory. Memory is what Linux calls the high-water mark. Without arguments it does
//! nothing. `scripts/bench_weightwatcher.py` runs it beside WeightWatcher.

#![expect(clippy::print_stdout, reason = "its output")]

use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Instant;

use counter_rng::Key;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use spectral::{Analysis, Columns, Mode, Weights};

type Failure = Box<dyn Error + Send + Sync>;

/// One layer's matrices, twelve times; and the positions.
const LAYER: [(&str, [usize; 2]); 4] = [
    ("attn.c_attn", [768, 2304]),
    ("attn.c_proj", [768, 768]),
    ("mlp.c_fc", [768, 3072]),
    ("mlp.c_proj", [3072, 768]),
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let [file, analysis, threads @ ..] = &arguments[..] else { return Ok(()) };
    let threads = match threads {
        [name, threads] if name == "--threads" => threads.parse()?,
        _ => 2,
    };
    let file = Path::new(file);
    if !file.exists() {
        write(file)?;
    }
    let (mode, random) = match analysis.split_once('+') {
        Some((mode, "random")) => (mode, true),
        _ => (analysis.as_str(), false),
    };
    let mode = if mode == "compat" { Mode::Compat } else { Mode::Strict };
    let analysis = Analysis {
        mp_fit: random,
        randomize: random.then(|| Key::from_seed(1)),
        ..Analysis::new(mode)
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let start = Instant::now();
    let rows = pool.install(|| run(file, &analysis))?;
    let seconds = start.elapsed().as_secs_f64();
    let alphas: Vec<f64> = rows.iter().filter_map(|row| row.alpha).collect();
    let mean = alphas.iter().sum::<f64>() / alphas.len() as f64;
    println!("{} matrices, mean alpha {mean:.4} of {}", rows.len(), alphas.len());
    println!("{seconds:.3} s, {} MiB", peak_memory()? / 1024);
    Ok(())
}

fn run(file: &Path, analysis: &Analysis) -> Result<Vec<Columns>, Failure> {
    let mut places = places(file)?;
    places.sort_by_key(|(_, [rows, cols])| std::cmp::Reverse(rows * cols));
    let one = |(offset, shape): &(u64, [usize; 2])| {
        let values = read(file, *offset, shape[0] * shape[1])?;
        Ok(analysis.run(&Weights::matrix(&values, *shape)?)?.1)
    };
    places.par_iter().with_max_len(1).map(one).collect()
}

/// Where every tensor of the file starts, and its shape.
fn places(file: &Path) -> Result<Vec<(u64, [usize; 2])>, Failure> {
    let mut head = [0; 8];
    let mut reader = File::open(file)?;
    reader.read_exact(&mut head)?;
    let header = u64::from_le_bytes(head);
    let metadata: Metadata = serde_json::from_reader(reader.take(header))?;
    let place = |it: &TensorInfo| {
        Ok((8 + header + it.data_offsets.0 as u64, it.shape.as_slice().try_into()?))
    };
    metadata.tensors().into_values().map(place).collect()
}

fn read(file: &Path, offset: u64, len: usize) -> std::io::Result<Vec<f32>> {
    let mut reader = File::open(file)?;
    reader.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![0; 1 << 18];
    let mut values = Vec::with_capacity(len);
    while values.len() < len {
        let some = &mut bytes[..(4 * (len - values.len())).min(1 << 18)];
        reader.read_exact(some)?;
        values.extend(some.as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)));
    }
    Ok(values)
}

/// The matrices, their entries normal.
fn write(file: &Path) -> Result<(), Failure> {
    let layers = (0..12).flat_map(|i| LAYER.map(|(name, shape)| (format!("h.{i}.{name}"), shape)));
    let all = layers.chain([("wpe".to_owned(), [1024, 768])]);
    let mut tensors = Vec::new();
    for (index, (name, [rows, cols])) in (0..).zip(all) {
        let mut values = vec![0.0; rows * cols];
        Key::from_seed(1).index(index).fill_normal(0, &mut values);
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.push((format!("{name}.weight"), vec![rows, cols], bytes));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize_to_file(views, None, file)?)
}

/// The high-water mark of resident memory, in KiB.
fn peak_memory() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("no VmHWM")?.trim().trim_end_matches(" kB").parse()?)
}
