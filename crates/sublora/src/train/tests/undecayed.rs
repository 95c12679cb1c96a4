//! Weights that do not decay and have a learning rate of their own.

use gpt2_model::assign;

use super::*;

const RATE: f64 = 0.05;
const LEARNING_RATE: f64 = 0.01;
const DECAY: f64 = 0.5;

/// Adapters of queries, and of these the first factor by steps relative to its size.
fn is_undecayed(name: &str) -> bool {
    name.contains(".q.")
}

fn is_relative(name: &str) -> bool {
    name.ends_with(".q.lora_A")
}

fn decaying() -> TrainConfig {
    TrainConfig { weight_decay: DECAY, clip: 1e9, ..config(4, 1, 1) }
}

/// Adapters of which both factors have gradients.
fn adapted() -> (LoraGpt2, Layout) {
    let (model, layout) = assembled(&fixture::spec(24));
    let model = assign(model, |name, shape| {
        let mut values = vec![0.0; shape.iter().product()];
        Key::from_seed(5).derive(name).fill_normal(0, &mut values);
        name.ends_with("lora_B").then_some(values)
    });
    (model, layout)
}

fn direct(layout: &Layout) -> Direct {
    Direct::new(layout.clone(), &decaying()).with_undecayed(is_undecayed, is_relative, RATE)
}

/// One step along the loss of `step`; the gradient, flat.
fn advance(
    model: &mut LoraGpt2,
    layout: &Layout,
    parameters: &mut dyn Parameters,
    corpus: &Corpus,
    step: u64,
) -> Vec<f32> {
    let config = decaying();
    let windows = WindowSampler::new(corpus.split(Split::Train), SEQ + 1, 3).unwrap();
    let Slope { grads, .. } = trainer(&config).slope(model, &CrossEntropy, &windows, step).unwrap();
    let gradient = crate::subspace::flat_gradient(model, layout, &grads).unwrap();
    let at = At { learning_rate: LEARNING_RATE, progress: 0.5 };
    *model = parameters.step(model.clone(), grads, at).unwrap();
    gradient
}

/// The first step of `AdamW` is $-\eta g / (|g| + 10^{-6})$, and of what decays $-\eta \lambda \theta$ beside
/// it. What does not decay takes 0.05 of that, and of what is relative $|\theta|$ times as much.
#[test]
fn what_does_not_decay_takes_a_part_of_a_step() {
    let (_dir, corpus) = text();
    let (mut model, layout) = adapted();
    let mut parameters = direct(&layout);
    let before = parameters.values(&model).unwrap();
    let gradient = advance(&mut model, &layout, &mut parameters, &corpus, 0);
    let after = parameters.values(&model).unwrap();
    let mut gradient = gradient.into_iter();
    let mut counts = [0; 3];
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let kind = usize::from(is_undecayed(name)) + usize::from(is_relative(name));
        counts[kind] += before.len();
        for (theta, after) in before.iter().zip(after) {
            let (theta, after) = (f64::from(*theta), f64::from(*after));
            let g = f64::from(gradient.next().unwrap());
            let update = g / (g.abs() + 1e-6);
            let step = match kind {
                0 => LEARNING_RATE * (update + DECAY * theta),
                1 => RATE * LEARNING_RATE * update,
                _ => RATE * LEARNING_RATE * update * theta.abs(),
            };
            // In f32, of numbers up to 4.
            assert!((after - (theta - step)).abs() < 1e-6, "{name}: {theta} {after} {step} {g}");
        }
        assert_ne!(&before, &after, "{name}");
    }
    // Rank 2: A of 16 inputs, B of 16 outputs or, of the head, 257. Queries in two blocks; values and head.
    assert_eq!(counts, [2 * 2 * 32 + 32 + 514, 2 * 32, 2 * 32]);
}

#[test]
fn both_parts_of_the_state_come_back() {
    let (_dir, corpus) = text();
    let (mut model, layout) = adapted();
    let mut parameters = direct(&layout);
    for step in 0..2 {
        advance(&mut model, &layout, &mut parameters, &corpus, step);
    }
    let values = parameters.values(&model).unwrap();
    let state = Parameters::<LoraGpt2>::optimizer(&parameters).unwrap();
    let third = |state: Option<&[u8]>| {
        let mut fresh = direct(&layout);
        let mut model = fresh.restore(adapted().0, &values, state, 0.5).unwrap();
        advance(&mut model, &layout, &mut fresh, &corpus, 2);
        fresh.values(&model).unwrap()
    };
    advance(&mut model, &layout, &mut parameters, &corpus, 2);
    let expected = parameters.values(&model).unwrap();
    assert_eq!(third(Some(&state)), expected);
    // Without the moments both kinds take another step.
    for (other, expected) in third(None).iter().zip(&expected) {
        assert_ne!(other, expected);
    }
}

#[test]
fn a_state_that_is_cut_or_of_one_part_is_refused() {
    let (_dir, corpus) = text();
    let (mut model, layout) = adapted();
    let mut parameters = direct(&layout);
    advance(&mut model, &layout, &mut parameters, &corpus, 0);
    let state = Parameters::<LoraGpt2>::optimizer(&parameters).unwrap();
    let values = parameters.values(&model).unwrap();
    let first = usize::try_from(u64::from_le_bytes(state[..8].try_into().unwrap())).unwrap();
    let refused = |parameters: &mut Direct, state: &[u8]| {
        let restored = parameters.restore(adapted().0, &values, Some(state), 0.5);
        restored.err().map(|error| error.to_string())
    };
    let short = Some("optimiser state: it has only one part of two".to_owned());
    for length in [0, 7, 8, 8 + first / 2, 8 + first - 1] {
        assert_eq!(refused(&mut direct(&layout), &state[..length]), short, "{length}");
    }
    let lying = [&u64::MAX.to_le_bytes(), &state[8..]].concat();
    assert_eq!(refused(&mut direct(&layout), &lying), short);
    for length in [8 + first, 8 + first + 4, 8 + usize::midpoint(first, state.len())] {
        let found = refused(&mut direct(&layout), &state[..length]).unwrap();
        assert!(found.starts_with("optimiser state: "), "{length}: {found}");
    }
    // Two parts are none of an optimiser of one, and one is none of two.
    let mut one = Direct::new(layout.clone(), &decaying());
    assert!(refused(&mut one, &state).unwrap().starts_with("optimiser state: "));
    assert!(refused(&mut direct(&layout), &state[8..8 + first]).is_some());
}
