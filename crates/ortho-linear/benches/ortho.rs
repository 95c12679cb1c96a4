//! A layer of two streams beside the plain one, by density of the outliers.
//!
//! For each shape of a GPT-2 small matrix, 256 tokens, in half precision with the outliers drawn at random:
//! the fastest of the forward pass, of the forward and backward pass with a gradient of the input, and of the same
//! with one of the outliers; all kinds take turns. Prints a JSON object for each shape and density, with
//! milliseconds, slowdowns against the plain layer, bytes of both streams, and GB/s of the sparse product
//! alone, which reads the stream and the inputs, and reads and writes the outputs. `masked_ms` is a
//! dense product with the base and another with the outliers as a dense matrix. Then, for each shape, the density
//! at which the sparse stream takes as long as that.
//!
//! ```text
//! cargo bench --profile dev --workspace --bench ortho
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::cell::RefCell;
use std::time::Instant;

use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use counter_rng::Key;
use gpt2_model::LinearLayer;
use ortho_linear::{
    Alpha, IndexWidth, Matrix, OrthoLinear, Random, Reference, Selection, Signals, Split, Storage,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SHAPES: [[usize; 2]; 3] = [[768, 2304], [768, 3072], [3072, 768]];
const PERCENT: [f64; 9] = [0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0];
const TOKENS: usize = 256;
/// Rounds that do not count.
const WARM_UP: usize = 3;
/// Of the forward pass; many, since other work on the machine disturbs most of them.
const REPEATS: usize = 101;
/// Of the backward pass; in the last rounds.
const REPEATS_BOTH: usize = 21;

/// What is timed, and its milliseconds so far.
type Kind<'a> = (&'static str, Box<dyn Fn() + 'a>, Vec<f64>);

fn main() {
    for shape in SHAPES {
        let mut times = Vec::new();
        for percent in PERCENT {
            let [sparse, masked] = measure(shape, percent);
            times.push((percent, sparse, masked));
        }
        let [d_in, d_out] = shape;
        println!(
            "{{\"shape\": \"{d_in}x{d_out}\", \"break_even_percent\": {}}}",
            break_even(&times)
        );
    }
}

/// Prints a row; milliseconds of the forward pass with sparse outliers and with dense ones.
fn measure(shape @ [d_in, d_out]: [usize; 2], percent: f64) -> [f64; 2] {
    let split = split(shape, percent / 100.0);
    let (plain_device, graph) = (Device::default(), Device::default().autodiff());
    let layers = [&plain_device, &graph].map(|device| {
        let layer = OrthoLinear::new(&split, None, device);
        (layer.base.clone(), layer)
    });
    let [(plain, ortho), (plain_graph, ortho_graph)] = &layers;
    let trained = ortho_graph.clone().train_outliers();
    let mut dense = vec![0.0; d_in * d_out];
    split.outliers().iter().for_each(|(place, value)| dense[place] = value);
    let dense = Tensor::<2>::from_data(TensorData::new(dense, shape), &plain_device);

    let values = normal(TOKENS * d_in, 3);
    let input =
        |device| Tensor::<3>::from_data(TensorData::new(values.clone(), [1, TOKENS, d_in]), device);
    let (x, x_graph) = (input(&plain_device), input(&graph));
    let both = |layer: &dyn Fn(Tensor<3>) -> Tensor<3>| {
        let x = x_graph.clone().detach().require_grad();
        let gradients = layer(x.clone()).sum().backward();
        assert!(x.grad(&gradients).is_some(), "a gradient of the input");
    };
    let rows = x.clone().reshape([TOKENS, d_in]);
    let y = RefCell::new(vec![0.0; TOKENS * d_out]);
    let mut kinds: Vec<Kind<'_>> = vec![
        ("plain", Box::new(|| drop(forward(plain, &x))), Vec::new()),
        ("ortho", Box::new(|| drop(ortho.forward(x.clone()))), Vec::new()),
        (
            "masked",
            Box::new(|| {
                let base = Linear::forward(plain, rows.clone());
                drop(base + rows.clone().matmul(dense.clone()));
            }),
            Vec::new(),
        ),
        ("plain_both", Box::new(|| both(&|x| forward(plain_graph, &x))), Vec::new()),
        ("ortho_both", Box::new(|| both(&|x| ortho_graph.forward(x))), Vec::new()),
        ("trained_both", Box::new(|| both(&|x| trained.forward(x))), Vec::new()),
    ];
    kinds.push((
        "sparse",
        Box::new(|| {
            let product =
                split.outliers().add_product(&values, TOKENS, Alpha::STORED, &mut y.borrow_mut());
            product.expect("the lengths fit");
        }),
        Vec::new(),
    ));
    for round in 0..WARM_UP + REPEATS {
        for (name, work, times) in &mut kinds {
            if name.ends_with("_both") && round + REPEATS_BOTH < WARM_UP + REPEATS {
                continue;
            }
            let start = Instant::now();
            work();
            if round >= WARM_UP {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let fastest: Vec<(&str, f64)> =
        kinds.into_iter().map(|(name, _, it)| (name, least(it))).collect();
    let of = |name: &str| fastest.iter().find(|it| it.0 == name).map_or(f64::NAN, |it| it.1);
    let moved = split.outliers().bytes() + 4 * TOKENS * (d_in + 2 * d_out);
    let milliseconds: Vec<String> =
        fastest.iter().map(|(name, it)| format!("\"{name}_ms\": {it:.3}")).collect();
    println!(
        "{{\"shape\": \"{d_in}x{d_out}\", \"percent\": {percent}, \"base_bytes\": {}, \"stream_bytes\": {}, \
         {}, \"slowdown\": {:.3}, \"slowdown_both\": {:.3}, \"slowdown_trained\": {:.3}, \
         \"sparse_gb_s\": {:.1}}}",
        split.base().bytes(),
        split.outliers().bytes(),
        milliseconds.join(", "),
        of("ortho") / of("plain"),
        of("ortho_both") / of("plain_both"),
        of("trained_both") / of("plain_both"),
        moved as f64 / of("sparse") / 1e6,
    );
    [of("ortho"), of("masked")]
}

fn split(shape @ [d_in, d_out]: [usize; 2], ratio: f64) -> Split {
    let weights = normal(d_in * d_out, 1);
    let weights = Matrix::new(&weights, shape).expect("finite");
    let reference = Reference::cast(weights, Storage::F16).expect("within the range of f16");
    let rule = Random { ratio, seed: 2 };
    let mask = rule.select(&Signals::of(reference.matrix())).expect("a ratio");
    Split::extract(&reference, &mask, IndexWidth::Auto).expect("short indices")
}

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values
}

fn forward(layer: &Linear, x: &Tensor<3>) -> Tensor<3> {
    LinearLayer::forward(layer, x.clone())
}

/// The density at which both take equally long, linear between two that were measured.
fn break_even(times: &[(f64, f64, f64)]) -> String {
    let lead = |it: &(f64, f64, f64)| it.2 - it.1;
    let crossing = times.windows(2).find(|pair| lead(&pair[0]) > 0.0 && lead(&pair[1]) <= 0.0);
    match crossing {
        Some([a, b]) => {
            let part = lead(a) / (lead(a) - lead(b));
            format!("{:.1}", a.0 + part * (b.0 - a.0))
        }
        _ => "null".to_owned(),
    }
}

fn least(times: Vec<f64>) -> f64 {
    times.into_iter().fold(f64::INFINITY, f64::min)
}
