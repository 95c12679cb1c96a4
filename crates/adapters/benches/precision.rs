//! A training step of each kind of layer at the GPT-2 small shape, beside the unquantised LoRA step.
//!
//! Frozen random base, rank 16 on every matrix of the blocks, one window of 256 tokens, the plain tied
//! head; forward and backward pass without optimiser. The kinds take turns. Prints one JSON object of
//! medians in seconds, and their ratios to LoRA:
//!
//! ```text
//! cargo bench --profile dev -p adapters --bench precision
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;

use adapters::{
    AdapterRule, CyclicConfig, FakeQuantConfig, LoraConfig, MergeableConfig, Precision,
    Quantization, QuantizedLayer, QuantizedNorm, Site, SwitchableConfig,
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use counter_rng::Key;
use gpt2_model::{Gpt2, Gpt2Config, LinearLayer, NormLayer, PlainGpt2, cross_entropy};
use quantizers::{BitWidth, Mse};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEQ: usize = 256;
const RANK: usize = 16;
const WARM_UP: usize = 1;
const REPEATS: usize = 5;

/// A step of one kind, and its seconds so far.
type Kind<'a> = (&'static str, Box<dyn Fn() + 'a>, Vec<f64>);

fn main() {
    let device = Device::default().autodiff();
    let key = Key::from_seed(1);
    let base =
        PlainGpt2::random(&Gpt2Config::default(), key, &device).expect("the published shape");
    let (x, y) = window(&device);
    let (four, eight) = (width(4), width(8));

    let sites = LoraConfig::ALL_SITES.into_iter().filter(|&it| it != Site::Head).collect();
    let lora = LoraConfig { rank: RANK, sites, ..LoraConfig::default() };
    let lora = lora.adapt(base.clone(), key).expect("a rank below the width");

    let quantize = FakeQuantConfig {
        weight: Quantization { range: Mse::default().into(), ..Quantization::default() }.into(),
        ..FakeQuantConfig::default()
    };
    let cyclic = CyclicConfig { quantize: quantize.clone(), rank: RANK, ..CyclicConfig::default() };
    let cyclic = ready(cyclic.apply(base.clone(), key).expect("a sound configuration"), &x, four);
    let switchable = SwitchableConfig {
        widths: vec![four],
        quantize: quantize.clone(),
        factors: None,
        adapters: vec![AdapterRule { rank: RANK, alpha: 16.0, ..AdapterRule::default() }],
    };
    let switchable = switchable.apply(base.clone(), key).expect("a sound configuration");
    let switchable = ready(switchable, &x, four);
    let mergeable =
        MergeableConfig { widths: vec![four], quantize, rank: RANK, ..MergeableConfig::default() };
    let mut mergeable = ready(mergeable.apply(base, key).expect("a sound configuration"), &x, four);
    mergeable.learn_scales(&[four], &device).expect("calibrated");

    let mut kinds: Vec<Kind<'_>> = vec![
        ("lora", Box::new(|| step(&lora, &x, &y)), Vec::new()),
        ("switchable", Box::new(|| step(&switchable, &x, &y)), Vec::new()),
        (
            "cyclic",
            Box::new(|| {
                cyclic.set_gradients(BitWidth::FULL, 0).expect("no width");
                step(&cyclic, &x, &y);
            }),
            Vec::new(),
        ),
        (
            "cyclic_gradient_8",
            Box::new(|| {
                cyclic.set_gradients(eight, 0).expect("a width of gradients");
                step(&cyclic, &x, &y);
            }),
            Vec::new(),
        ),
        ("mergeable", Box::new(|| step(&mergeable, &x, &y)), Vec::new()),
    ];
    let rounds = WARM_UP + REPEATS;
    for round in 0..rounds {
        for (_, step, seconds) in &mut kinds {
            let start = Instant::now();
            step();
            if round >= WARM_UP {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let medians: Vec<(&str, f64)> =
        kinds.into_iter().map(|(name, _, it)| (name, median(it))).collect();
    let plain = medians.first().map_or(f64::NAN, |it| it.1);
    let field = |(name, it): &(&str, f64)| {
        format!("\"{name}_s\": {it:.3}, \"{name}_ratio\": {:.2}", it / plain)
    };
    println!("{{{}}}", medians.iter().map(field).collect::<Vec<_>>().join(", "));
}

fn width(bits: u8) -> BitWidth {
    BitWidth::new(bits).expect("a width")
}

fn ready<L: QuantizedLayer, N: QuantizedNorm>(
    model: Gpt2<L, N>,
    x: &Tensor<2, Int>,
    bits: BitWidth,
) -> Gpt2<L, N> {
    model.start_calibration(&[bits], &[bits]);
    drop(model.hidden(x.clone()));
    model.finish_calibration().expect("finite weights");
    model.set_precision(bits, bits).expect("calibrated");
    model
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

fn step<L: LinearLayer, N: NormLayer>(model: &Gpt2<L, N>, x: &Tensor<2, Int>, y: &Tensor<1, Int>) {
    let hidden = model.hidden(x.clone()).reshape([SEQ, 768]);
    let gradients = cross_entropy(&model.head_factors(hidden), y).backward();
    assert!(model.wte.weight.val().grad(&gradients).is_none(), "the base is frozen");
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}
