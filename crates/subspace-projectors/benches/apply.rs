//! Both products of every projector: `cargo bench -p subspace-projectors --profile dev [-- NAME]`.
//!
//! The least of several runs, in milliseconds. Sizes that would take minutes are left out. The last
//! lines are the slow obvious triple product of the Kronecker projectors, on one thread.

#![expect(clippy::print_stdout, reason = "a table is the purpose of this program")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use counter_rng::Key;
use subspace_projectors::{AnyProjector, Dense, Distribution, Layout};

/// GPT-2 small at rank 4 on q, v and the head, and a large model.
const AMBIENT: [usize; 2] = [351_744, 10_000_000];
const INTRINSIC: [usize; 4] = [1_000, 10_000, 50_000, 200_000];

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let chosen = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    println!("{:<20} {:>10} {:>8} {:>10} {:>10} {:>10}", "", "D", "d", "build", "apply", "apply_t");
    let signs = Dense { distribution: Distribution::Rademacher };
    let methods = AnyProjector::all().into_iter().map(|method| (method.name(), method));
    for (name, method) in methods.chain([("dense (rademacher)", signs.into())]) {
        for ambient in AMBIENT {
            for d in INTRINSIC.into_iter().filter(|&d| chosen(name) && affordable(name, ambient, d))
            {
                projector(name, &method, ambient, d);
            }
        }
    }
    for d in INTRINSIC.into_iter().filter(|_| chosen("plain loops")) {
        plain_loops(d);
    }
}

/// At most some seconds for a product.
fn affordable(name: &str, ambient: usize, d: usize) -> bool {
    let drawn = match name {
        "dense" | "film" | "film+rdkron" | "film+rdkronqr" => ambient * d / 400_000_000,
        "dense (rademacher)" => ambient * d / 20_000_000_000,
        "rkron" => 3 * ambient.isqrt() * d / 400_000_000,
        "identity+rdkronqr" => usize::from(d < ambient / 50),
        _ => 0,
    };
    drawn == 0
}

fn projector(name: &str, method: &AnyProjector, ambient: usize, d: usize) {
    let head = ambient / 100;
    let sites = [
        ("head.lora_A", head),
        ("a.lora_A", ambient / 5),
        ("a.lora_B", ambient - head - ambient / 5),
    ];
    let layout = Layout::new(sites.map(|(site, len)| (site, [len]))).expect("a layout");
    let start = Instant::now();
    let projector = method.as_dyn().build(&layout, d, Key::from_seed(1)).expect("a projector");
    let built = start.elapsed().as_secs_f64() * 1e3;

    let (mut alpha, mut theta) = (vec![0.0; d], vec![0.0; ambient]);
    Key::from_seed(2).fill_normal(0, &mut alpha);
    let apply = least(|| projector.apply(black_box(&alpha), black_box(&mut theta)));
    let apply_t = least(|| projector.apply_t(black_box(&theta), black_box(&mut alpha)));
    println!("{name:<20} {ambient:>10} {d:>8} {built:>10.1} {apply:>10.2} {apply_t:>10.2}");
}

/// Milliseconds of the fastest run in two seconds.
fn least(mut run: impl FnMut()) -> f64 {
    let (begin, mut least, mut runs) = (Instant::now(), Duration::MAX, 0);
    while runs == 0 || begin.elapsed() < Duration::from_secs(2) {
        let start = Instant::now();
        run();
        least = least.min(start.elapsed());
        runs += 1;
    }
    least.as_secs_f64() * 1e3
}

/// Q1 V Q2^T for 512 x 687 parameters by its definition.
fn plain_loops(d: usize) {
    let (a1, a2, b) = (512, 687, d.isqrt() + 1);
    let fill = |purpose, len| {
        let mut out = vec![0.0; len];
        Key::from_seed(3).derive(purpose).fill_normal(0, &mut out);
        out
    };
    let (left, v, right) = (fill("left", a1 * b), fill("v", b * b), fill("right", a2 * b));
    let (mut lv, mut theta) = (vec![0.0; a1 * b], vec![0.0; a1 * a2]);
    let apply = least(|| {
        for i in 0..a1 {
            for j in 0..b {
                lv[i * b + j] = (0..b).map(|k| left[i * b + k] * v[k * b + j]).sum();
            }
            for j in 0..a2 {
                theta[i * a2 + j] = (0..b).map(|k| lv[i * b + k] * right[j * b + k]).sum();
            }
        }
        black_box(&mut theta);
    });
    let name = "plain loops";
    println!("{name:<20} {:>10} {d:>8} {:>10} {apply:>10.2} {:>10}", a1 * a2, "-", "-");
}
