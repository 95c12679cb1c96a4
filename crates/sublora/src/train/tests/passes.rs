//! Objectives of several passes, and models other than that of a run.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;

use adapters::{FakeQuantConfig, FakeQuantizedGpt2, Precision, Scales};
use gpt2_model::{Distillation, Distilled, Matching, PlainGpt2, Teacher, logits, parameters};
use quantizers::BitWidth;

use super::*;

fn bits(tensor: &Tensor<2>) -> Vec<u32> {
    host(tensor.clone()).unwrap().iter::<f32>().map(f32::to_bits).collect()
}

/// What a pass of [`Scripted`] does.
#[derive(Clone, Copy)]
enum Act {
    /// Leaves logits and has no loss.
    Teach,
    /// Has a loss that no trained weight reaches.
    Watch,
    /// Has the cross-entropy as its loss.
    Train,
}

/// Every pass leaves the logits of its batch, and finds those of the passes before.
struct Scripted {
    acts: Vec<Act>,
    begun: Mutex<Vec<Pass>>,
}

impl Scripted {
    fn new(acts: &[Act]) -> Self {
        Self { acts: acts.to_vec(), begun: Mutex::default() }
    }
}

impl Objective<LoraGpt2> for Scripted {
    fn passes(&self, _step: u64) -> NonZeroUsize {
        NonZeroUsize::new(self.acts.len()).unwrap()
    }

    fn begin(&self, _model: &LoraGpt2, pass: Pass) -> Result<(), Error> {
        self.begun.lock().unwrap().push(pass);
        Ok(())
    }

    fn loss(
        &self,
        model: &LoraGpt2,
        batch: &Batch,
        pass: Pass,
        kept: &mut Kept,
    ) -> Result<Option<BatchLoss>, Error> {
        assert_eq!(*self.begun.lock().unwrap().last().unwrap(), pass);
        let now = logits(&batch.factors(model));
        assert_eq!(kept.logits().len(), pass.number);
        assert!(kept.logits().iter().all(|it| bits(it) == bits(&now)));
        kept.push(now);
        let alone = || CrossEntropy.loss(model, batch, pass, &mut Kept::default());
        match self.acts[pass.number] {
            Act::Teach => Ok(None),
            Act::Train => alone(),
            Act::Watch => Ok(alone()?.map(|BatchLoss { nats, .. }| {
                let minimised = Tensor::from_inner(nats.clone());
                BatchLoss { minimised, nats }
            })),
        }
    }

    fn evaluate(&self, model: &LoraGpt2, batches: &[Batch]) -> Result<Evaluation, Error> {
        CrossEntropy.evaluate(model, batches)
    }
}

#[test]
fn passes_are_outermost_and_their_gradients_are_added_up() {
    let (_dir, corpus) = text();
    let (model, layout) = assembled(&fixture::spec(24));
    let windows = WindowSampler::new(corpus.split(Split::Train), SEQ + 1, 3).unwrap();
    let config = config(4, 2, 2);
    let slope = |objective: &dyn Objective<LoraGpt2>| {
        let Slope { loss, nats, grads } =
            trainer(&config).slope(&model, objective, &windows, 5).unwrap();
        (loss, nats, crate::subspace::flat_gradient(&model, &layout, &grads).unwrap())
    };
    let (loss, nats, gradient) = slope(&CrossEntropy);
    assert_eq!(loss.to_bits(), nats.to_bits());

    let twice = Scripted::new(&[Act::Train, Act::Train]);
    let (loss_twice, nats_twice, gradient_twice) = slope(&twice);
    assert!((loss_twice - 2.0 * loss).abs() < 1e-12 && (nats_twice - nats).abs() < 1e-12);
    let doubled: Vec<f32> = gradient.iter().map(|it| 2.0 * it).collect();
    assert!(distance(&gradient_twice, &doubled) < 1e-6);
    let begun = twice.begun.into_inner().unwrap();
    assert_eq!(begun, [Pass { step: 5, number: 0 }, Pass { step: 5, number: 1 }]); // not eight times

    // A teacher counts for nothing, to the bit.
    assert_eq!(slope(&Scripted::new(&[Act::Teach, Act::Train])), (loss, nats, gradient.clone()));
    // What trains nothing counts for the losses only.
    let (loss_watched, nats_watched, watched) = slope(&Scripted::new(&[Act::Watch, Act::Train]));
    assert!((loss_watched - 2.0 * loss).abs() < 1e-12 && (nats_watched - nats).abs() < 1e-12);
    assert_eq!(watched, gradient);
}

#[test]
fn a_step_without_any_loss_ends_the_training() {
    let (dir, corpus) = text();
    let (model, layout) = assembled(&fixture::spec(24));
    let config = TrainConfig { steps: 1, ..config(4, 1, 1) };
    let (folder, objective) = (dir.path().join("run"), Scripted::new(&[Act::Teach]));
    let error = train(&folder, &config, model, &objective, layout, &corpus, &()).err().unwrap();
    assert!(error.to_string().starts_with("train: the loss is NaN at step 0,"), "{error}");
}

#[test]
fn a_plain_gpt_2_trains_as_one_of_a_run_without_adapters_does() {
    let (dir, corpus) = text();
    let spec =
        Spec { lora: None, trainable: vec!["*".to_owned()], sublora: None, ..fixture::spec(24) };
    let plain: PlainGpt2 = fixture::base(&spec);
    let plain_layout = Layout::new(parameters(&plain).into_iter().map(|it| (it.name, it.shape)));
    let (of_run, layout) = spec.assemble(fixture::base(&spec)).unwrap();
    let config = TrainConfig { steps: 3, eval_batches: 1, ..config(4, 2, 2) };
    let run = &dir.path().join("run");
    let expected = train(run, &config, of_run, &CrossEntropy, layout, &corpus, &()).unwrap();
    let alone = &dir.path().join("plain");
    let layout = plain_layout.unwrap();
    let found = train(alone, &config, plain, &CrossEntropy, layout, &corpus, &()).unwrap();
    assert_eq!(found.0, expected.0);
    let values = |state: State| state.values.into_iter().map(|(_, it)| it).collect::<Vec<_>>();
    assert_eq!(values(found.1), values(expected.1));
}

/// Trains all of `layout` in `folder`, or what is left of it, and returns how it ended.
fn train<M: Module>(
    folder: &Path,
    config: &TrainConfig,
    model: M,
    objective: &dyn Objective<M>,
    layout: Layout,
    corpus: &Corpus,
    progress: &dyn Progress,
) -> Result<(Outcome, State), Error> {
    let windows = || WindowSampler::new(corpus.split(Split::Train), config.seq + 1, 3).unwrap();
    let data = Data { train: windows(), held_out: Some(windows()) };
    let trainer = Trainer { folder: folder.to_owned(), progress, ..trainer(config) };
    let parameters = &mut Direct::new(layout, config);
    let (_, outcome) = trainer.run("train", model, objective, parameters, &data, true)?;
    Ok((outcome, State::read(&folder.join("last.safetensors"))?))
}

/// Full precision, then two bits, taught by the first.
struct TwoWidths;

const WIDTHS: [u8; 2] = [32, 2];

fn set(model: &FakeQuantizedGpt2, bits: u8) -> Result<(), Error> {
    let bits = BitWidth::new(bits).unwrap();
    model.set_precision(bits, bits).map_err(|error| Error::Mismatch(error.to_string()))
}

impl Objective<FakeQuantizedGpt2> for TwoWidths {
    fn passes(&self, _step: u64) -> NonZeroUsize {
        NonZeroUsize::new(2).unwrap()
    }

    fn begin(&self, model: &FakeQuantizedGpt2, pass: Pass) -> Result<(), Error> {
        set(model, WIDTHS[pass.number])
    }

    fn loss(
        &self,
        model: &FakeQuantizedGpt2,
        batch: &Batch,
        pass: Pass,
        kept: &mut Kept,
    ) -> Result<Option<BatchLoss>, Error> {
        let teachers = kept.logits().iter().cloned();
        let teachers =
            teachers.map(|logits| Teacher { logits, weight: 1.0, matching: Matching::Mse });
        let how =
            Distillation { teachers: teachers.collect(), keep_logits: true, cross_entropy: 1.0 };
        let Distilled { loss: minimised, nats, logits } =
            how.loss(&batch.factors(model), &batch.targets);
        let added = scalar(minimised.clone())? - scalar(nats.clone())?;
        assert_eq!(added > 0.0, pass.number == 1); // the teacher is at another width
        kept.push(logits.unwrap());
        Ok(Some(BatchLoss { minimised, nats }))
    }

    fn evaluate(&self, model: &FakeQuantizedGpt2, batches: &[Batch]) -> Result<Evaluation, Error> {
        let at = |bits| {
            set(model, bits)?;
            Ok((format!("held_out/nats/{bits}"), CrossEntropy.evaluate(model, batches)?.loss))
        };
        let observations = WIDTHS.map(at).into_iter().collect::<Result<Vec<_>, Error>>()?;
        let loss = observations.iter().map(|(_, loss)| loss / 2.0).sum();
        Ok(Evaluation { loss, observations })
    }
}

/// Asks for an end after the first step it hears of.
struct Once;

impl Progress for Once {
    fn begin(&self, _task: &str, _unit: &'static str, _total: u64) {}

    fn update(&self, _done: u64, _note: &str) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn end(&self) {}
}

#[test]
fn two_widths_are_trained_side_by_side_logged_and_resumed() {
    let (dir, corpus) = text();
    let plain = fixture::base(&fixture::spec(24));
    let quantized =
        FakeQuantConfig { weight_scales: Scales::Dynamic, ..FakeQuantConfig::default() };
    let model = quantized.apply(plain).unwrap();
    let layout = Layout::new(parameters(&model).into_iter().map(|it| (it.name, it.shape))).unwrap();
    let config = TrainConfig { steps: 4, eval_every: 2, eval_batches: 1, ..config(4, 2, 2) };
    let train = |name: &str, progress: &dyn Progress| {
        let folder = dir.path().join(name);
        train(&folder, &config, model.clone(), &TwoWidths, layout.clone(), &corpus, progress)
    };
    let (outcome, state) = train("whole", &()).unwrap();
    let ends = (0..4).map(|_| train("stopped", &Once)).collect::<Vec<_>>();
    assert!(ends[..3].iter().all(|it| matches!(it, Err(Error::Interrupted))));
    let (resumed, resumed_state) = ends.into_iter().next_back().unwrap().unwrap();
    assert_eq!((resumed, &resumed_state.values), (outcome, &state.values));
    let metrics = |name: &str| crate::metrics::read(&dir.path().join(name)).unwrap();
    assert_eq!(metrics("stopped"), metrics("whole"));
    let last = metrics("whole").pop().unwrap().values;
    let nats = |bits: u8| last[&format!("held_out/nats/{bits}")].unwrap();
    let mean = f64::midpoint(nats(32), nats(2)) / std::f64::consts::LN_2;
    assert!(nats(32) < nats(2), "{last:?}");
    assert!((last["held_out/bits_per_token"].unwrap() - mean).abs() < 1e-12);
}

#[test]
fn a_width_that_cannot_be_set_ends_the_training() {
    let (dir, corpus) = text();
    let plain = fixture::base(&fixture::spec(24));
    let model = FakeQuantConfig::default().apply(plain).unwrap(); // never calibrated
    let layout = Layout::new(parameters(&model).into_iter().map(|it| (it.name, it.shape))).unwrap();
    let config = TrainConfig { steps: 1, ..config(4, 1, 1) };
    let folder = dir.path().join("run");
    let error = train(&folder, &config, model, &TwoWidths, layout, &corpus, &()).err().unwrap();
    assert!(error.to_string().ends_with("calibrate it first"), "{error}");
    assert!(!folder.join("last.safetensors").exists());
}
