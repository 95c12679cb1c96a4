//! The `SubLoRA` training step and the certification forward at the GPT-2 small shape.
//!
//! Random frozen base without biases, LoRA of rank 4 on queries, values and head, `rdkronqr` subspace
//! of 10,000 coordinates, one window of 256 tokens, `AdamW`. Prints one JSON object, which
//! `scripts/bench_pytorch.py --ours` puts beside PyTorch's:
//!
//! ```text
//! cargo bench --profile dev -p sublora --bench step -- --phase step
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, cross_entropy, score};
use sublora::{
    At, BaseIdentity, InSubspace, Parameters, Spec, Subspace, SubspaceConfig, TrainConfig,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEQ: usize = 256;
const WARM_UP: usize = 2;
const REPEATS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let phase = arguments.iter().skip_while(|it| *it != "--phase").nth(1);
    let step = phase.is_none_or(|phase| phase == "step");
    let forward = phase.is_none_or(|phase| phase == "forward");
    let mut fields = Vec::new();
    if step {
        fields.extend(report("step", time_step()));
    }
    if forward {
        fields.extend(report("forward", time_forward()));
    }
    fields.push(format!("\"peak_rss_bytes\": {}", peak_bytes()));
    println!("{{{}}}", fields.join(", "));
}

fn spec() -> Spec {
    Spec {
        model: Gpt2Config { bias: false, ..Gpt2Config::default() },
        seed: 137,
        corpus: corpus::Sha256Hash([0; 32]),
        base: BaseIdentity::Random,
        lora: Some(adapters::LoraConfig::default()),
        trainable: Vec::new(),
        sublora: Some(SubspaceConfig {
            intrinsic_dim: 10_000,
            projector: subspace_projectors::Rdkronqr::default().into(),
            ..SubspaceConfig::default()
        }),
    }
}

/// Inputs `[1, SEQ]` and targets `[SEQ]`.
fn window(device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let words = Key::from_seed(1).words(0);
    let ids: Vec<i64> =
        words.take(SEQ + 1).map(|word| i64::try_from(word % 50_257).unwrap_or(0)).collect();
    let x = Tensor::from_data(TensorData::new(ids[..SEQ].to_vec(), [1, SEQ]), device);
    let y = TensorData::new(ids[1..].to_vec(), [SEQ]);
    (x, Tensor::from_data(y, &device.clone().inner()))
}

fn time_step() -> Vec<f64> {
    let device = Device::default().autodiff();
    let spec = spec();
    let base = spec.random_base(&device).expect("the published shape");
    let (mut model, layout) = spec.assemble(base).expect("the published sites");
    let allocated = spec.allocated(&layout).expect("a dimension below D").expect("a subspace");
    let subspace = Subspace::new(&model, layout, allocated).expect("a working device");
    let mut parameters = InSubspace::new(subspace, &TrainConfig::default(), &device);
    let (x, y) = window(&device);
    (0..WARM_UP + REPEATS)
        .map(|_| {
            let start = Instant::now();
            let hidden = model.hidden(x.clone()).reshape([SEQ, 768]);
            let loss = cross_entropy(&model.head_factors(hidden), &y);
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            let moved =
                parameters.step(model.clone(), grads, At { learning_rate: 5e-3, progress: 1.0 });
            model = moved.expect("a working device");
            start.elapsed().as_secs_f64()
        })
        .skip(WARM_UP)
        .collect()
}

fn time_forward() -> Vec<f64> {
    let device = Device::default();
    let spec = spec();
    let base = spec.random_base(&device).expect("the published shape");
    let (model, _) = spec.assemble(base).expect("the published sites");
    let (x, y) = window(&device);
    (0..WARM_UP + REPEATS)
        .map(|_| {
            let start = Instant::now();
            let hidden = model.hidden(x.clone()).reshape([SEQ, 768]);
            let scores = score(&model.head_factors(hidden), &y).expect("a working device");
            assert_eq!(scores.ln_p.len(), SEQ);
            start.elapsed().as_secs_f64()
        })
        .skip(WARM_UP)
        .collect()
}

fn report(name: &str, mut seconds: Vec<f64>) -> Vec<String> {
    seconds.sort_by(f64::total_cmp);
    let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
    vec![
        format!("\"{name}_seconds\": {median}"),
        format!("\"{name}_seconds_best\": {best}"),
        format!("\"{name}_tokens_per_s\": {}", SEQ as f64 / median),
    ]
}

/// Largest resident memory of this process; 0 where the system does not say.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok());
    1024 * kib.unwrap_or(0)
}
