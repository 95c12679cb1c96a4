//! What every projector promises, tested over the catalogue.

use counter_rng::Key;

use crate::{AnyProjector, Description, Film, Layout, Projector, ProjectorError, Shape};

/// A layout in which the default sites of every method match, where there is room for them.
fn layout(ambient: usize) -> Layout {
    let (head, a) = (ambient / 16, ambient / 8);
    let tensors =
        [("head.lora_A", head), ("h.0.q.lora_A", a), ("h.0.q.lora_B", ambient - head - a)];
    Layout::new(tensors.into_iter().filter(|(_, len)| *len > 0).map(|(name, len)| (name, [len])))
        .unwrap()
}

fn build(
    method: &AnyProjector,
    ambient: usize,
    d: usize,
    seed: u64,
) -> Result<Box<dyn Projector>, ProjectorError> {
    method.as_dyn().build(&layout(ambient), d, Key::from_seed(seed))
}

fn named(name: &str) -> AnyProjector {
    AnyProjector::all().into_iter().find(|method| method.name() == name).unwrap()
}

/// Standard normals, a stream for each purpose.
pub(crate) fn normals(purpose: &str, len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::from_seed(9).derive(purpose).fill_normal(0, &mut out);
    out
}

fn apply(projector: &dyn Projector, alpha: &[f32]) -> Vec<f32> {
    let mut theta = vec![f32::NAN; projector.shape().ambient];
    projector.apply(alpha, &mut theta);
    theta
}

fn apply_t(projector: &dyn Projector, g: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; projector.shape().intrinsic];
    projector.apply_t(g, &mut out);
    out
}

fn inner(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

/// `[d][D]`: column `j` is `P e_j`.
fn columns(projector: &dyn Projector) -> Vec<Vec<f32>> {
    let d = projector.shape().intrinsic;
    let unit = |j| (0..d).map(|i| if i == j { 1.0 } else { 0.0 }).collect::<Vec<_>>();
    (0..d).map(|j| apply(projector, &unit(j))).collect()
}

/// The largest entry of `P^T P - I`.
fn distance_from_isometry(projector: &dyn Projector) -> f64 {
    let columns = columns(projector);
    let mut worst = 0.0_f64;
    for (i, x) in columns.iter().enumerate() {
        for (j, y) in columns.iter().enumerate() {
            worst = worst.max((inner(x, y) - f64::from(u8::from(i == j))).abs());
        }
    }
    worst
}

/// Sizes one off a square, prime, tiny, and `d` up to `D`.
#[test]
fn adjoint_on_awkward_shapes() {
    for method in AnyProjector::all() {
        for ambient in [1_usize, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 63, 64, 65, 97, 1_009] {
            let square = (ambient / 2).isqrt().pow(2);
            let mut sizes = [1, 2, square, square + 1, ambient / 2, ambient - 1, ambient];
            sizes.sort_unstable();
            for d in sizes.into_iter().filter(|d| (1..=ambient).contains(d)) {
                let at = format!("{} {ambient} x {d}", method.name());
                let projector = match build(&method, ambient, d, 1) {
                    Ok(projector) => projector,
                    Err(
                        ProjectorError::NoSite { .. }
                        | ProjectorError::AboveSelection { .. }
                        | ProjectorError::WithinSelection { .. },
                    ) if ["film", "identity"].iter().any(|part| method.name().contains(part)) => {
                        continue;
                    }
                    Err(error) => panic!("{at}: {error}"),
                };
                assert_eq!(projector.shape(), Shape { ambient, intrinsic: d }, "{at}");
                let (v, w) = (normals("v", d), normals("w", ambient));
                let (pv, pw) = (apply(&*projector, &v), apply_t(&*projector, &w));
                let scale = (inner(&pv, &pv) * inner(&w, &w)).sqrt() + inner(&v, &v);
                assert!(pv.iter().chain(&pw).all(|x| x.is_finite()), "{at}");
                assert!((inner(&pv, &w) - inner(&v, &pw)).abs() < 1e-5 * scale, "{at}");
            }
        }
    }
}

/// At `D = 64`, where all sites have room for `d = 8`: rows and columns are of one matrix, and both
/// products are its products.
#[test]
fn equal_to_the_dense_matrix() {
    for method in AnyProjector::all() {
        let (ambient, d) = (64, 8);
        let projector = build(&method, ambient, d, 2).unwrap();
        let columns = columns(&*projector);
        for i in 0..ambient {
            let mut unit = vec![0.0; ambient];
            unit[i] = 1.0;
            for (x, column) in apply_t(&*projector, &unit).iter().zip(&columns) {
                assert!((x - column[i]).abs() < 1e-6, "{} row {i}", method.name());
            }
        }
        let (v, w) = (normals("v", d), normals("w", ambient));
        for (i, x) in apply(&*projector, &v).into_iter().enumerate() {
            let row: Vec<f32> = columns.iter().map(|column| column[i]).collect();
            assert!((f64::from(x) - inner(&row, &v)).abs() < 2e-6, "{} {i}", method.name());
        }
        for (x, column) in apply_t(&*projector, &w).into_iter().zip(&columns) {
            assert!((f64::from(x) - inner(column, &w)).abs() < 1e-5, "{}", method.name());
        }
    }
}

/// Over 500 seeds, within five standard errors; both dimensions of all parts of 97 x 11 have tails.
#[test]
fn norms_are_kept_on_average() {
    for method in AnyProjector::all() {
        let v = normals("v", 11);
        let ratios: Vec<f64> = (0..500)
            .map(|seed| {
                let theta = apply(&*build(&method, 97, 11, seed).unwrap(), &v);
                inner(&theta, &theta) / inner(&v, &v)
            })
            .collect();
        let n = ratios.len() as f64;
        let mean = ratios.iter().sum::<f64>() / n;
        let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / n;
        let tolerance = 5.0 * (variance / n).sqrt() + 1e-6;
        assert!((mean - 1.0).abs() < tolerance, "{}: {mean} +- {tolerance}", method.name());
    }
}

#[test]
fn rectkronqr_is_an_isometry_without_dead_coordinates_for_every_d() {
    for ambient in [1_usize, 2, 3, 5, 11, 12, 16, 17, 36, 61] {
        for d in 1..=ambient {
            let projector = build(&named("rectkronqr"), ambient, d, 3).unwrap();
            let distance = distance_from_isometry(&*projector);
            assert!(distance < 1e-5, "{ambient} x {d}: {distance}");
            let Description { dead, untrained, .. } = projector.describe();
            assert_eq!(dead, 0, "{ambient} x {d}");
            assert!(untrained < ambient.isqrt(), "{ambient} x {d}: {untrained}");
        }
    }
}

#[test]
fn rdkronqr_is_an_isometry_where_d_is_a_square() {
    for ambient in [1_usize, 9, 10, 97] {
        for root in 1..=ambient.isqrt() {
            let projector = build(&named("rdkronqr"), ambient, root * root, 3).unwrap();
            assert!(distance_from_isometry(&*projector) < 1e-5, "{ambient} x {root}^2");
            let v = normals("v", root * root);
            let back = apply_t(&*projector, &apply(&*projector, &v)); // half the gradient of |Pv|^2
            assert!(v.iter().zip(&back).all(|(x, y)| (x - y).abs() < 1e-5), "{ambient}, {root}");
        }
    }
}

/// The leftovers of the published rounding, at GPT-2 small (593^2 = 351 744 - 95) and around squares.
#[test]
fn dead_and_untrained_coordinates_are_counted() {
    for (name, ambient, d, dead, untrained) in [
        ("rdkronqr", 351_744, 10_000, 0, 95), // 100^2 coordinates, no tail column
        ("rdkronqr", 351_744, 10_001, 0, 0),
        ("rectkronqr", 351_744, 10_000, 0, 0),
        ("rdkron", 64, 5, 1, 0), // 2^2 of 5 coordinates, no tail row
        ("rdkron", 65, 5, 0, 0),
        ("rdkron", 65, 4, 0, 1),
        ("film", 64, 5, 0, 12), // 64/16 + 64/8 parameters are not of B
        ("identity+rdkronqr", 64, 8, 0, 11), // 60 = 7^2 + 11 parameters, 4 = 2^2 coordinates
        ("rkron", 64, 5, 0, 0),
        ("dense", 64, 64, 0, 0),
        ("sparse", 64, 64, 0, 0),
        ("fastfood", 65, 33, 0, 0),
    ] {
        let description = build(&named(name), ambient, d, 4).unwrap().describe();
        let shape = Shape { ambient, intrinsic: d };
        assert_eq!(description, Description { shape, dead, untrained }, "{name} {ambient} x {d}");
    }
}

/// 5 003 x 600 is cut into several tasks in every product.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let (v, w) = (normals("v", 600), normals("w", 5_003));
    let products = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let methods = AnyProjector::all().into_iter().filter(|method| method.name() != "dense");
            let signs = crate::Dense { distribution: crate::Distribution::Rademacher };
            let product = |method: AnyProjector| {
                let projector = build(&method, 5_003, 600, 5).unwrap();
                (method, apply_t(&*projector, &w), apply(&*projector, &v))
            };
            methods.chain([signs.into()]).map(product).collect::<Vec<_>>()
        })
    };
    let one = products(1);
    assert!(one == products(3));
}

/// The selected coordinates, which `identity+rdkronqr` takes over unchanged, are left out.
#[test]
fn projectors_of_two_keys_are_uncorrelated() {
    for method in AnyProjector::all() {
        let (ambient, d) = (4_999, 400);
        let mut v = normals("v", d);
        v[..ambient / 16].fill(0.0);
        let [x, y] = [6, 7].map(|seed| apply(&*build(&method, ambient, d, seed).unwrap(), &v));
        let correlation = inner(&x, &y) / (inner(&x, &x) * inner(&y, &y)).sqrt();
        // Five standard deviations 1 / sqrt(2 * 70) of `rkron`, which has 2 * 70 random numbers.
        assert!(correlation.abs() < 0.43, "{}: {correlation}", method.name());
        assert_eq!(x, apply(&*build(&method, ambient, d, 6).unwrap(), &v), "{}", method.name());
    }
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    for method in AnyProjector::all() {
        let error = |d| build(&method, 64, d, 0).err();
        assert_eq!(error(0), Some(ProjectorError::NoDimension), "{}", method.name());
        let above = ProjectorError::AboveAmbient { intrinsic: 65, ambient: 64 };
        assert_eq!(error(65), Some(above), "{}", method.name());
        assert!(error(usize::MAX).is_some(), "{}", method.name());
    }
    let above = ProjectorError::AboveSelection { intrinsic: 53, selected: 52 };
    assert_eq!(build(&named("film"), 64, 53, 0).err(), Some(above));
    let within = ProjectorError::WithinSelection { intrinsic: 4, selected: 4 };
    assert_eq!(build(&named("identity+rdkronqr"), 64, 4, 0).err(), Some(within));
    let film = AnyProjector::from(Film { sites: vec!["*.norm".into()] });
    let error = build(&film, 64, 4, 0).err().unwrap();
    let expected = "no tensor matches [\"*.norm\"], expected a name such as `head.lora_A`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn vectors_of_other_lengths_are_never_used() {
    for method in AnyProjector::all() {
        let projector = build(&method, 64, 8, 0).unwrap();
        for (d, ambient) in [(7, 64), (9, 64), (8, 63), (8, 65)] {
            let (mut v, mut w) = (vec![0.0; d], vec![0.0; ambient]);
            let mut panics = |product: &mut dyn FnMut(&mut [f32], &mut [f32])| {
                let product = std::panic::AssertUnwindSafe(|| product(&mut v, &mut w));
                std::panic::catch_unwind(product).is_err()
            };
            assert!(panics(&mut |v, w| projector.apply(v, w)), "{}", method.name());
            assert!(panics(&mut |v, w| projector.apply_t(w, v)), "{}", method.name());
        }
    }
}

#[test]
fn every_doc_has_a_configuration_that_parses() {
    for method in AnyProjector::all() {
        let name = method.name();
        let file = format!("{}/src/{}.rs", env!("CARGO_MANIFEST_DIR"), name.replace('+', "_"));
        let source = std::fs::read_to_string(file).unwrap();
        let (_, snippet) = source.split_once("/// ```toml\n").expect(name);
        let (snippet, _) = snippet.split_once("/// ```").expect(name);
        let parsed: AnyProjector = toml::from_str(&snippet.replace("/// ", "")).expect(name);
        assert_eq!(parsed.name(), name);
        let default: AnyProjector = toml::from_str(&format!("kind = {name:?}")).expect(name);
        assert_eq!(default, method);
        assert_eq!(toml::from_str::<AnyProjector>(&toml::to_string(&method).unwrap()), Ok(method));
    }
    let error = toml::from_str::<AnyProjector>("kind = \"film\"\nsite = []").unwrap_err();
    assert!(error.message().contains("unknown field `site`, expected `sites`"), "{error}");
}

/// A change here breaks every artifact that names the method. Bits of `theta[599]` and `out[0]`, and the
/// FNV-1a hash of all bits of both, for seed 8, `D = 600`, `d = 50`. Regenerate: the assertion prints
/// what it found.
#[test]
fn golden_bits() {
    let (v, w) = (normals("v", 50), normals("w", 600));
    let found: Vec<_> = AnyProjector::all()
        .into_iter()
        .chain([crate::Dense { distribution: crate::Distribution::Rademacher }.into()])
        .map(|method| {
            let projector = build(&method, 600, 50, 8).unwrap();
            let (theta, out) = (apply(&*projector, &v), apply_t(&*projector, &w));
            let bytes = theta.iter().chain(&out).flat_map(|x| x.to_bits().to_le_bytes());
            let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            format!(
                "{} {:08x} {:08x} {hash:016x}",
                method.name(),
                theta[599].to_bits(),
                out[0].to_bits()
            )
        })
        .collect();
    let expected = [
        "rectkronqr bf1703ea 3e259b35 5e0ee97dfe7245c7",
        "rdkronqr be8e1556 bed85405 a65023c47979e439",
        "rdkron bdd82468 bf019c35 e3122adcd182b9ff",
        "rkron 3dd6f3de befa4072 42d59aeca8643996",
        "dense 3df786f4 3fd0ec20 11995c2117e45fe2",
        "sparse 3d92ac82 3dcf001e 93774f0a4d121837",
        "fastfood 3dc336f2 3e59401b 96fc652ab9dc2353",
        "film 3e74ff88 be1a7e65 296f42b42cbefd51",
        "film+rdkron bd88da56 bfbb30f4 1a981aaba1835cfd",
        "film+rdkronqr be8cd20f bdc1be26 191a89b5153bd837",
        "identity+rdkronqr bce0261c befaaa16 70a2f2ce6b0344ac",
        "dense bee0aeee bf5af6ac 7a00271f57f56c6b", // signs
    ];
    assert_eq!(found, expected);
}
