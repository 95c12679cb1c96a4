//! What every base kind and every selection promises, over the registries.

use counter_rng::Key;
use proptest::prelude::*;

use crate::{
    AnyBase, AnySelection, Bulk, CodeWidth, Coding, Fisher, Hessian, IndexWidth, Int4, Int8,
    KSigma, Magnitude, Mask, Matrix, MemoryDelta, Mixed, Percentile, Perturbation, Random,
    RangeRule, Reference, Scope, Signals, Split, Storage,
};

fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values
}

/// Every base kind, and its other settings.
fn bases() -> Vec<AnyBase> {
    let mut bases = AnyBase::all();
    bases.extend::<[AnyBase; _]>([
        Int8 { range: RangeRule::Mse }.into(),
        Int4 { range: RangeRule::Mse }.into(),
        Mixed { budget: 0.15, scope: Scope::Channel, range: RangeRule::Mse }.into(),
        Bulk { bits: CodeWidth::Four, low: 0.0, high: 1.0 }.into(),
    ]);
    bases
}

/// Every selection, and its other settings, with a ratio where there is one.
fn selections(ratio: f64) -> Vec<(AnySelection, Option<f64>)> {
    let mut selections: Vec<(AnySelection, Option<f64>)> = AnySelection::all()
        .into_iter()
        .filter_map(|it| match it {
            AnySelection::Iqr(_) | AnySelection::KSigma(_) | AnySelection::Percentile(_) => {
                Some((it, None))
            }
            _ => None,
        })
        .collect();
    selections.push((KSigma { k: 2.0, scope: Scope::Channel }.into(), None));
    selections.push((Percentile { low: 0.1, high: 0.8, scope: Scope::Matrix }.into(), None));
    selections.push((Random { ratio, seed: 5 }.into(), Some(ratio)));
    for scope in [Scope::Matrix, Scope::Channel] {
        let ratio_of: [AnySelection; 5] = [
            Magnitude { ratio, scope }.into(),
            Fisher { ratio, scope, perturbation: Perturbation::Weight }.into(),
            Fisher { ratio, scope, perturbation: Perturbation::Delta }.into(),
            Hessian { ratio, scope }.into(),
            MemoryDelta { ratio, scope }.into(),
        ];
        selections.extend(ratio_of.map(|it| (it, Some(ratio))));
    }
    selections
}

/// What all selections together look at.
struct Layer {
    shape: [usize; 2],
    weights: Vec<f32>,
    pretrained: Vec<f32>,
    fisher: Vec<f32>,
    hessian: Vec<f32>,
}

impl Layer {
    fn new(seed: u64, shape: [usize; 2]) -> Self {
        let len = shape[0] * shape[1];
        let squares = |seed, len| normal(seed, len).into_iter().map(|x| x * x).collect();
        let weights = normal(seed, len);
        let changes = normal(seed + 1, len).into_iter();
        Self {
            shape,
            pretrained: changes.zip(&weights).map(|(d, w)| w - 0.1 * d).collect(),
            weights,
            fisher: squares(seed + 2, len),
            hessian: squares(seed + 3, shape[0]),
        }
    }

    fn signals(&self) -> Signals<'_> {
        let matrix = |values| Matrix::new(values, self.shape).unwrap();
        let signals = Signals::of(matrix(&self.weights)).with_pretrained(matrix(&self.pretrained));
        let signals = signals.unwrap().with_fisher(&self.fisher).unwrap();
        signals.with_hessian(&self.hessian).unwrap()
    }
}

fn count(ratio: f64, numel: usize) -> usize {
    (ratio * numel as f64).round_ties_even() as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Rising places of the matrix; exactly as many as asked for; the same once more.
    #[test]
    fn masks(seed in 0_u64..1_000, d_in in 1_usize..40, d_out in 1_usize..40, ratio in 0.0..=1.0) {
        let layer = Layer::new(seed, [d_in, d_out]);
        for (method, ratio) in selections(ratio) {
            let mask = method.as_dyn().select(&layer.signals()).unwrap();
            prop_assert_eq!(&Mask::new(mask.places().to_vec(), layer.shape).unwrap(), &mask);
            prop_assert_eq!(&method.as_dyn().select(&layer.signals()).unwrap(), &mask);
            let scope = |scope, ratio| match scope {
                Scope::Matrix => count(ratio, d_in * d_out),
                Scope::Channel => d_out * count(ratio, d_in),
            };
            if let Some(ratio) = ratio {
                let expected = match &method {
                    AnySelection::Magnitude(it) => scope(it.scope, ratio),
                    AnySelection::Fisher(it) => scope(it.scope, ratio),
                    AnySelection::Hessian(it) => scope(it.scope, ratio),
                    AnySelection::MemoryDelta(it) => scope(it.scope, ratio),
                    _ => count(ratio, d_in * d_out),
                };
                prop_assert_eq!(mask.places().len(), expected, "{:?}", method);
            }
        }
    }

    /// Any base and any mask: exact on the mask, or an error that says where it is not.
    #[test]
    fn residuals(seed in 0_u64..1_000, d_in in 1_usize..60, d_out in 1_usize..12, scale in -20_i32..10) {
        let shape = [d_in, d_out];
        let values: Vec<f32> =
            normal(seed, d_in * d_out).into_iter().map(|it| it * 2.0_f32.powi(scale)).collect();
        for storage in [Storage::F16, Storage::Bf16] {
            let matrix = Matrix::new(&values, shape).unwrap();
            let reference = Reference::cast(matrix, storage).unwrap().with_positive_zeros().0;
            let mask = Mask::random(shape, 0.3, Key::from_seed(seed)).unwrap();
            for method in bases() {
                let base = match method.as_dyn().encode(&reference) {
                    Ok(base) => base,
                    // Of bf16, fp16 may be too coarse.
                    Err(crate::OrthoError::Budget { .. }) => {
                        prop_assert_eq!(storage, Storage::Bf16);
                        continue;
                    }
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                };
                let split = Split::residual(&reference, base, &mask, IndexWidth::Auto).unwrap();
                let stored = split.materialise(crate::Alpha::STORED);
                for &place in mask.places() {
                    let (found, weight) =
                        (stored[place as usize], reference.matrix().values()[place as usize]);
                    prop_assert_eq!(found.to_bits(), weight.to_bits(), "{:?}", method);
                }
            }
        }
    }
}

#[test]
fn ratios_outside_zero_to_one() {
    let layer = Layer::new(1, [4, 4]);
    for ratio in [-1e-9, 1.0 + 1e-9, f64::NAN] {
        for (method, ratio) in selections(ratio) {
            let found = method.as_dyn().select(&layer.signals());
            assert_eq!(found.is_err(), ratio.is_some(), "{method:?}");
        }
    }
}

/// Zero, constant, huge and tiny channels.
#[test]
fn bases_of_extreme_channels() {
    let columns: [fn(f32) -> f32; 5] =
        [|_| 0.0, |_| 0.25, |x| 6e4 * x.signum(), |x| 1e-7 * x, |x| x.powi(5).clamp(-1e4, 1e4)];
    let values: Vec<f32> =
        normal(3, 64).iter().flat_map(|&x| columns.map(|column| column(x))).collect();
    let matrix = Matrix::new(&values, [64, 5]).unwrap();
    let reference = Reference::cast(matrix, Storage::F16).unwrap();
    for method in bases() {
        let base = method.as_dyn().encode(&reference).unwrap();
        assert!(base.matrix().values().iter().all(|it| it.is_finite()), "{method:?}");
        assert!(base.matrix().values().iter().step_by(5).all(|&it| it == 0.0), "{method:?}");
        assert_eq!(base.channels().len(), 5);
        let dense = base.channels().iter().filter(|it| it.coding >= Coding::Fp16).count();
        assert!(base.bytes() >= 64 * 2 * dense && base.bytes() <= 64 * 5 * 2 + 2, "{method:?}");
    }
}

/// A channel is coded by itself.
#[test]
fn channels_do_not_see_each_other() {
    let mut values = normal(4, 64 * 6);
    let encode = |values: &[f32], method: &AnyBase| {
        let matrix = Matrix::new(values, [64, 6]).unwrap();
        method.as_dyn().encode(&Reference::cast(matrix, Storage::F16).unwrap()).unwrap()
    };
    let before: Vec<_> = bases().iter().map(|it| encode(&values, it)).collect();
    values.iter_mut().skip(2).step_by(6).for_each(|it| *it *= 3.0);
    for (method, before) in bases().iter().zip(before) {
        if matches!(method, AnyBase::Mixed(Mixed { scope: Scope::Matrix, .. })) {
            continue; // they share a budget
        }
        let after = encode(&values, method);
        for place in (0..64 * 6).filter(|place| place % 6 != 2) {
            assert_eq!(after.matrix().values()[place], before.matrix().values()[place]);
        }
    }
}

/// The configuration in the documentation of a file.
fn snippet(file: &str) -> String {
    let path = format!("{}/src/{file}.rs", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).unwrap();
    let (_, snippet) = source.split_once("/// ```toml\n").expect(file);
    snippet.split_once("/// ```").expect(file).0.replace("/// ", "")
}

#[test]
fn every_doc_has_a_configuration_that_parses() {
    for method in AnyBase::all() {
        let parsed: AnyBase = toml::from_str(&snippet(&format!("base/{}", method.name()))).unwrap();
        assert_eq!(parsed, method);
        assert!(method.about().ends_with('.'));
        let written = toml::to_string(&parsed).unwrap();
        assert_eq!(toml::from_str::<AnyBase>(&written), Ok(parsed));
    }
    for method in AnySelection::all() {
        let file = format!("selection/{}", method.name().replace('-', "_"));
        let parsed: AnySelection = toml::from_str(&snippet(&file)).unwrap();
        assert_eq!(parsed, method);
        assert!(method.about().ends_with('.'));
        let written = toml::to_string(&parsed).unwrap();
        assert_eq!(toml::from_str::<AnySelection>(&written), Ok(parsed));
    }
    let error = toml::from_str::<AnyBase>("kind = \"bulk\"\nbits = 5").unwrap_err().to_string();
    assert!(error.contains("a code has 5 bits, expected 4 or 8"), "{error}");
}
