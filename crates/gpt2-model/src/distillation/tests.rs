//! Values worked by hand, and gradients against burn's own of the naive formula.

use burn::tensor::{Device, TensorData};
use counter_rng::Key;

use super::*;
use crate::cross_entropy;

const TOKENS: usize = 7;
const VOCAB: usize = 11;

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    crate::host(tensor.inner()).unwrap().iter::<f32>().collect()
}

fn random<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    Key::from_seed(1).derive(name).fill_normal(0, &mut values);
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn teacher(logits: &Tensor<2>, weight: f64, matching: Matching) -> Teacher {
    Teacher { logits: logits.clone(), weight, matching }
}

fn kl(temperature: f64) -> Matching {
    Matching::Kl { temperature }
}

/// Value of the loss of one token with logits (ln 3, 0), so that p is (3/4, 1/4), and target 0; and the
/// gradient of its logits. The teachers say (0, 0).
fn by_hand(cross_entropy: f64, teachers: &[(f64, Matching)]) -> (f32, Vec<f32>) {
    let device = Device::default().autodiff();
    let y = Tensor::<2>::from_data([[3_f32.ln(), 0.0]], &device).require_grad();
    let taught = Tensor::zeros([1, 2], &Device::default());
    let teachers = teachers.iter().map(|&(weight, it)| teacher(&taught, weight, it)).collect();
    let how = Distillation { cross_entropy, teachers, keep_logits: false };
    let targets = Tensor::from_data([0], &Device::default());
    let Distilled { loss, nats, logits } =
        how.loss(&[Factor { input: y.clone(), weight: None }], &targets);
    assert!(logits.is_none());
    assert!((floats(nats)[0] - 0.287_682_07).abs() < 1e-6); // -ln 3/4, whatever its weight
    let gradient = y.grad(&loss.backward()).unwrap();
    (floats(loss)[0], floats(gradient))
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance);
    assert!(close, "{found:?} is not {expected:?}");
}

#[test]
fn every_term_by_hand() {
    let term = |cross_entropy, teachers: &[_], value: f32, gradient: [f32; 2]| {
        let (found, found_gradient) = by_hand(cross_entropy, teachers);
        assert_close(&[found], &[value], 1e-6);
        assert_close(&found_gradient, &gradient, 1e-6);
    };
    term(1.0, &[], 0.287_682_07, [-0.25, 0.25]); // p - e_0
    // ((ln 3)^2 + 0) / 2, and 2 (ln 3 - 0) / (1 * 2)
    term(0.0, &[(1.0, Matching::Mse)], 0.603_474_5, [1.098_612_3, 0.0]);
    // (ln(1/2 / 3/4) + ln(1/2 / 1/4)) / 2, and (3/4 - 1/2, 1/4 - 1/2)
    term(0.0, &[(1.0, kl(1.0))], 0.143_841_04, [0.25, -0.25]);
    // softmax(y / 2) = (sqrt 3, 1) / (sqrt 3 + 1) = (0.633975, 0.366025);
    // 4 (ln(0.5 / 0.633975) + ln(0.5 / 0.366025)) / 2, and 2 (0.633975 - 0.5)
    term(0.0, &[(1.0, kl(2.0))], 0.149_009_14, [0.267_949_2, -0.267_949_2]);
    // 0.287682 / 2 + 2 * 0.603475 + 3 * 0.149009; -0.25 / 2 + 2 * 1.098612 + 3 * 0.267949
    let teachers = [(2.0, Matching::Mse), (3.0, kl(2.0))];
    term(0.5, &teachers, 1.797_817_4, [2.876_072_2, -0.678_847_6]);
}

/// Three products, as a head with an adapter and a bias has them: `[TOKENS, 5]` by `[5, VOCAB]`,
/// `[TOKENS, 2]` by `[2, VOCAB]`, `[TOKENS, VOCAB]`.
fn head(device: &Device) -> Vec<Factor> {
    let factor = |name: &str, k: usize| Factor {
        input: random(&format!("{name}.input"), [TOKENS, k], device).require_grad(),
        weight: Some(random(&format!("{name}.weight"), [k, VOCAB], device).require_grad()),
    };
    let bias = random("bias", [TOKENS, VOCAB], device).require_grad();
    vec![factor("base", 5), factor("adapter", 2), Factor { input: bias, weight: None }]
}

fn naive_logits(factors: &[Factor]) -> Tensor<2> {
    let product = |factor: &Factor| match &factor.weight {
        Some(weight) => factor.input.clone().matmul(weight.clone()),
        None => factor.input.clone(),
    };
    factors.iter().map(product).reduce(|sum, term| sum + term).unwrap()
}

/// The formulas of the module's documentation, with `[TOKENS, VOCAB]` in the graph.
fn naive(factors: &[Factor], targets: &Tensor<1, Int>, how: &Distillation) -> Tensor<1> {
    let y = naive_logits(factors);
    let target = Tensor::<2, Int>::from_inner(targets.clone().unsqueeze_dim(1));
    let ln_p = log_softmax(y.clone(), 1).gather(1, target);
    how.teachers.iter().fold(ln_p.mean().neg() * how.cross_entropy, |loss, it| {
        let taught = Tensor::<2>::from_inner(it.logits.clone());
        let distance = match it.matching {
            Matching::Mse => (y.clone() - taught).square().mean(),
            Matching::Kl { temperature } => {
                let ln_p = log_softmax(y.clone() / temperature, 1);
                let ln_q = log_softmax(taught / temperature, 1);
                let sum = (ln_q.clone().exp() * (ln_q - ln_p)).sum();
                sum * (temperature * temperature / TOKENS as f64)
            }
        };
        loss + distance * it.weight
    })
}

/// The loss and the gradients of every input and weight.
fn differentiated(factors: &[Factor], loss: Tensor<1>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let grads = loss.backward();
    let gradient = |tensor: &Tensor<2>| floats(tensor.grad(&grads).unwrap());
    let all = factors.iter().flat_map(|it| std::iter::once(&it.input).chain(&it.weight));
    (floats(loss), all.map(gradient).collect())
}

fn targets() -> Tensor<1, Int> {
    Tensor::from_data([3, 0, 10, 3, 7, 7, 1], &Device::default())
}

/// The cross-entropy and a teacher of each kind.
fn taught() -> Distillation {
    let (plain, other) = ("mse", "kl");
    let of = |name| random(name, [TOKENS, VOCAB], &Device::default());
    let teachers = vec![teacher(&of(plain), 0.7, Matching::Mse), teacher(&of(other), 1.3, kl(3.0))];
    Distillation { cross_entropy: 0.4, teachers, keep_logits: true }
}

#[test]
fn value_and_gradients_are_those_of_the_naive_formula_in_chunks_of_any_size() {
    let factors = head(&Device::default().autodiff());
    let how = taught();
    let (value, gradients) = differentiated(&factors, naive(&factors, &targets(), &how));
    assert_eq!(gradients.len(), 5);
    for limit in [1, 2 * VOCAB, 3 * VOCAB, CHUNK_LOGITS] {
        let Distilled { loss, logits, .. } = how.in_chunks(&factors, &targets(), limit);
        let (found, found_gradients) = differentiated(&factors, loss);
        assert_close(&found, &value, 1e-6);
        for (found, expected) in found_gradients.iter().zip(&gradients) {
            assert_close(found, expected, 1e-6);
        }
        assert_close(&floats(logits.unwrap()), &floats(naive_logits(&factors)), 1e-5);
    }
}

#[test]
fn without_teachers_it_is_the_cross_entropy() {
    let factors = head(&Device::default().autodiff());
    let (value, gradients) = differentiated(&factors, cross_entropy(&factors, &targets()));
    let Distilled { loss, nats, logits } = Distillation::default().loss(&factors, &targets());
    let (found, found_gradients) = differentiated(&factors, loss);
    assert!(logits.is_none());
    assert_eq!((&found, floats(nats)), (&value, value.clone()));
    for (found, expected) in found_gradients.iter().zip(&gradients) {
        assert_close(found, expected, 1e-6);
    }
}

#[test]
fn a_model_that_teaches_itself_is_at_no_distance() {
    let factors = head(&Device::default().autodiff());
    let itself = logits(&factors);
    assert!(!itself.is_tracked());
    let kept = taught().loss(&factors, &targets()).logits.unwrap();
    assert_eq!(floats(kept), floats(itself.clone()));
    for matching in [Matching::Mse, kl(1.0), kl(3.0)] {
        let teachers = vec![teacher(&itself, 1.0, matching)];
        let alone = Distillation { cross_entropy: 0.0, teachers, keep_logits: false };
        let (value, gradients) = differentiated(&factors, alone.loss(&factors, &targets()).loss);
        assert_eq!(value, [0.0]);
        assert!(gradients.iter().flatten().all(|it| *it == 0.0), "{gradients:?}");
        // Beside the cross-entropy it changes no bit.
        let beside = Distillation { cross_entropy: 1.0, ..alone };
        let of = |how: &Distillation| differentiated(&factors, how.loss(&factors, &targets()).loss);
        assert_eq!(of(&beside), of(&Distillation::default()));
    }
}

#[test]
fn no_gradient_reaches_a_teacher() {
    let device = Device::default().autodiff();
    let factors = head(&device);
    let source = random("teacher", [TOKENS, VOCAB], &device).require_grad();
    for matching in [Matching::Mse, kl(2.0)] {
        let teachers = vec![teacher(&(source.clone() * 2.0), 1.0, matching)];
        let how = Distillation { teachers, ..Distillation::default() };
        let grads = how.loss(&factors, &targets()).loss.backward();
        assert!(source.grad(&grads).is_none());
        assert!(factors[0].input.grad(&grads).is_some());
    }
}

/// Hinton et al., section 2.1: for logits of mean zero, the gradient of a hot teacher is $(y - y_j) / (NV)$,
/// that of half the mean square.
#[test]
fn a_hot_teacher_matches_logits() {
    let device = Device::default().autodiff();
    let centred = |name: &str, device| {
        let logits = random(name, [TOKENS, VOCAB], device);
        logits.clone() - logits.mean_dim(1)
    };
    let y = centred("student", &device).detach().require_grad();
    let taught = centred("teacher", &Device::default());
    let factors = [Factor { input: y, weight: None }];
    let gradient = |weight, matching| {
        let teachers = vec![teacher(&taught, weight, matching)];
        let how = Distillation { cross_entropy: 0.0, teachers, keep_logits: false };
        differentiated(&factors, how.loss(&factors, &targets()).loss).1.remove(0)
    };
    let expected = gradient(0.5, Matching::Mse);
    let largest = expected.iter().fold(0_f32, |most, it| most.max(it.abs()));
    assert_close(&gradient(1.0, kl(1_000.0)), &expected, 5e-3 * largest);
    // At T = 1 the distributions are far from each other's first order.
    let far =
        gradient(1.0, kl(1.0)).iter().zip(&expected).any(|(a, b)| (a - b).abs() > 0.1 * largest);
    assert!(far);
}

#[test]
fn logits_far_apart_are_no_nan() {
    let device = Device::default().autodiff();
    let y = Tensor::<2>::from_data([[1e4, -1e4, 0.0]], &device).require_grad();
    let taught = Tensor::from_data([[-1e4, 1e4, 0.0]], &Device::default());
    let teachers = vec![teacher(&taught, 1.0, kl(1.0))];
    let how = Distillation { cross_entropy: 0.0, teachers, keep_logits: false };
    let target = Tensor::from_data([0], &Device::default());
    let factors = [Factor { input: y, weight: None }];
    let (value, gradients) = differentiated(&factors, how.loss(&factors, &target).loss);
    assert_eq!((value, gradients), (vec![2e4], vec![vec![1.0, -1.0, 0.0]])); // q = e_1, -ln p_1 = 2e4
}

#[test]
fn a_matching_is_a_table_of_its_kind() {
    let read = |text: &str| serde_json::from_str::<Matching>(text);
    assert_eq!(read(r#"{"kind":"mse"}"#).unwrap(), Matching::Mse);
    assert_eq!(read(r#"{"kind":"kl","temperature":3.0}"#).unwrap(), kl(3.0));
    let error = read(r#"{"kind":"l1"}"#).unwrap_err().to_string();
    assert!(error.contains("unknown variant `l1`, expected `mse` or `kl`"), "{error}");
}
