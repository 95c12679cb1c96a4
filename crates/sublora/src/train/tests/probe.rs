//! A probe leaves nothing behind.

use corpus::Sha256Hash;

use super::*;

/// Of everything that `parameters` train and remember.
fn hash(parameters: &dyn Parameters, model: &LoraGpt2) -> Sha256Hash {
    let values = parameters.values(model).unwrap();
    let bytes = |(name, values): &(String, Vec<f32>)| -> Vec<u8> {
        let values = values.iter().flat_map(|it| it.to_le_bytes());
        name.bytes().chain(values).collect()
    };
    let mut parts: Vec<Vec<u8>> = values.iter().map(bytes).collect();
    parts.extend(moments(&parameters.optimizer().unwrap()));
    Sha256Hash::of(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The tensors of an optimiser's state. burn writes them in any order behind a header, the length of which
/// stands at byte 6, each from a multiple of 256 bytes on: the blocks are sorted here. The number of steps
/// is in the header; whether it is right is seen from the steps that follow.
fn moments(optimizer: &[u8]) -> Vec<Vec<u8>> {
    let header = u32::from_le_bytes(optimizer[6..10].try_into().unwrap());
    let start = (10 + header as usize).next_multiple_of(256);
    let blocks = optimizer.get(start..).unwrap_or_default().chunks(256);
    let mut blocks: Vec<Vec<u8>> = blocks.map(<[u8]>::to_vec).collect();
    for block in &mut blocks {
        block.resize(256, 0);
    }
    blocks.sort();
    blocks
}

/// Every way to train, with a few trained numbers.
fn ways(config: &TrainConfig) -> Vec<(LoraGpt2, Box<dyn Parameters>)> {
    let mut gated = fixture::spec(24);
    let learned = subspace_projectors::Learned::default();
    gated.sublora.as_mut().unwrap().allocation = learned.into();
    let way = |spec: &Spec| {
        let (model, layout) = assembled(spec);
        let subspace = subspace(spec, &model, &layout);
        let device = Device::default();
        let parameters = InSubspace::new(subspace, config, &device);
        (model, Box::new(parameters) as Box<dyn Parameters>)
    };
    let (adapted, layout) = assembled(&fixture::spec(24));
    let direct = (adapted, Box::new(Direct::new(layout, config)) as Box<dyn Parameters>);
    vec![direct, way(&fixture::spec(24)), way(&gated)]
}

/// Takes `steps` for good, and returns their losses.
fn advance(
    trainer: &Trainer<'_>,
    model: &mut LoraGpt2,
    parameters: &mut dyn Parameters,
    windows: &WindowSampler<'_>,
    steps: std::ops::Range<u64>,
) -> Vec<f64> {
    let mut losses = Vec::new();
    for step in steps {
        let Slope { nats, grads, .. } = trainer.slope(model, &CrossEntropy, windows, step).unwrap();
        losses.push(nats);
        *model = parameters.step(model.clone(), grads, trainer.at(step)).unwrap();
    }
    losses
}

#[test]
fn a_probe_is_what_training_does_and_leaves_no_trace() {
    let (_dir, corpus) = text();
    let windows = WindowSampler::new(corpus.split(Split::Train), SEQ + 1, 3).unwrap();
    let config = TrainConfig { steps: 8, ..config(4, 1, 2) };
    let trainer = trainer(&config);
    for (mut model, mut parameters) in ways(&config) {
        let parameters = parameters.as_mut();
        // Before the first step, where the optimiser is empty, and after some.
        for first in [0, 2, 4] {
            let before = hash(parameters, &model);
            let mut probe = || {
                let steps = first..first + 4;
                trainer.probe(&model, &CrossEntropy, parameters, &windows, steps).unwrap()
            };
            let (curve, again) = (probe(), probe());
            assert_eq!(hash(parameters, &model), before);
            assert_eq!(again, curve);
            let taken = advance(&trainer, &mut model, parameters, &windows, first..first + 2);
            assert_eq!(taken, curve[..2]);
            assert_ne!(hash(parameters, &model), before);
            assert!(!moments(&parameters.optimizer().unwrap()).is_empty());
        }
    }
}

#[test]
fn a_probe_that_diverges_ends_there_and_is_undone_too() {
    let (_dir, corpus) = text();
    let windows = WindowSampler::new(corpus.split(Split::Train), SEQ + 1, 3).unwrap();
    let learning_rate = crate::LearningRate::constant(1e30);
    let config = TrainConfig { steps: 8, learning_rate, ..config(4, 1, 1) };
    let (model, mut parameters) = ways(&config).swap_remove(0);
    let before = hash(parameters.as_ref(), &model);
    let curve =
        trainer(&config).probe(&model, &CrossEntropy, parameters.as_mut(), &windows, 0..8).unwrap();
    let (last, finite) = curve.split_last().unwrap();
    assert!(!last.is_finite() && finite.iter().all(|it| it.is_finite()), "{curve:?}");
    assert!((2..8).contains(&curve.len()), "{curve:?}");
    assert_eq!(hash(parameters.as_ref(), &model), before);
}
