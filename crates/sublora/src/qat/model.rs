//! A model that runs at several widths, whatever its layers.

use adapters::{Calibration, Precision, QuantizedLayer, QuantizedNorm};
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use gpt2_model::{Gpt2, Parameter, TokenScores, cross_entropy, parameters};
use quantizers::BitWidth;
use subspace_projectors::Layout;

use super::calibrate::calibrate;
use super::config::QatConfig;
use super::learner::{Learner, go_to};
use super::method::Plan;
use crate::Error;
use crate::evaluate::ScoredText;
use crate::spec::arrange;
use crate::train::{Batch, Data, Direct, Outcome, Trainer};

/// What a method builds. It is calibrated, or takes over a calibration, before anything else.
pub trait QatModel {
    /// Every parameter, the base among them.
    fn parameters(&self) -> Vec<Parameter>;

    /// Those that are trained.
    fn trained(&self) -> Vec<Parameter>;

    /// Parameters beside the base that a width uses: adapters, norms, learned scales.
    fn own_parameters(&self, config: &QatConfig, bits: BitWidth) -> u64;

    /// Scales of the weights at a width.
    ///
    /// # Errors
    /// A width that has no rule.
    fn scales(&self, bits: BitWidth) -> Result<u64, Error>;

    /// Whether they are learned.
    fn learns_scales(&self) -> bool;

    /// Bits in which the quantised matrices are held at a width, and their weights: codes, and `f32`
    /// scales and shifts.
    ///
    /// # Errors
    /// A width that has no rule.
    fn storage(&self, bits: BitWidth) -> Result<(u64, u64), Error>;

    /// Calibrates on `batches`, each `[batch, seq]`.
    ///
    /// # Errors
    /// What a quantiser cannot be calibrated with.
    fn calibrate(&mut self, config: &QatConfig, batches: &[Tensor<2, Int>]) -> Result<(), Error>;

    /// Takes over a calibration.
    ///
    /// # Errors
    /// One of other quantisers.
    fn restore_calibration(
        &mut self,
        config: &QatConfig,
        calibration: &Calibration,
    ) -> Result<(), Error>;

    /// Everything calibrated.
    fn calibration(&self) -> Calibration;

    /// Calibrates gradients, if their scales are not dynamic.
    ///
    /// # Errors
    /// What a quantiser cannot be calibrated with.
    fn calibrate_gradients(&self, bits: BitWidth, batches: &[Batch]) -> Result<(), Error>;

    /// Trains to the end; the model is then as the last step left it.
    ///
    /// # Errors
    /// As [`Trainer::run`].
    fn train(&mut self, job: &Job<'_>, data: &Data<'_>, resume: bool) -> Result<Outcome, Error>;

    /// Goes to the end of a training that is over.
    ///
    /// # Errors
    /// As [`Trainer::restore_last`].
    fn restore(&mut self, job: &Job<'_>) -> Result<(), Error>;

    /// Losses of `steps` steps from the present state, which stays: by the state's own windows, each at
    /// `bits`. In nats, one a step.
    ///
    /// # Errors
    /// As [`Trainer::run`].
    fn probe(&mut self, job: &Job<'_>, data: &Data<'_>, steps: u64) -> Result<Vec<f64>, Error>;

    /// Scores `text` at a width.
    ///
    /// # Errors
    /// A width that was not calibrated, or as the scorer.
    fn score(
        &self,
        config: &QatConfig,
        bits: BitWidth,
        text: &ScoredText<'_>,
    ) -> Result<TokenScores, Error>;
}

/// One training.
pub struct Job<'a> {
    /// The loop.
    pub trainer: Trainer<'a>,
    /// The run.
    pub config: &'a QatConfig,
    /// What its steps do.
    pub plan: &'a dyn Plan,
}

/// [`QatModel`] for every kind of layer.
pub(super) struct Built<L: Module, N: Module> {
    model: Gpt2<L, N>,
    is_trained: Box<dyn Fn(&str) -> bool>,
    /// Learning rate of scales as a multiple of the others', if they are learned.
    scale_rate: Option<f64>,
}

impl<L: QuantizedLayer, N: QuantizedNorm> Built<L, N> {
    /// `is_trained` says which parameters are, by name.
    pub(super) fn new(model: Gpt2<L, N>, is_trained: impl Fn(&str) -> bool + 'static) -> Self {
        Self { model, is_trained: Box::new(is_trained), scale_rate: None }
    }

    /// Scales of weights and static inputs become parameters once they are calibrated, and learn at `rate`
    /// times the learning rate of the others.
    pub(super) fn learning_scales(self, rate: f64) -> Self {
        Self { scale_rate: Some(rate), ..self }
    }

    /// After calibration: makes scales parameters, gives every parameter the number of its place, and
    /// gradients to those that are trained.
    fn settle(&mut self, config: &QatConfig) -> Result<(), Error> {
        if self.scale_rate.is_some() {
            let device = self.model.wte.weight.device();
            let is_static = |bits: &BitWidth| {
                self.model.inputs().iter().any(|it| it.check_calibrated(&[*bits]).is_ok())
            };
            let shared = config.input_bits.filter(is_static);
            let widths: Vec<_> = config.widths.iter().copied().chain(shared).collect();
            self.model.learn_scales(&widths, &device)?;
        }
        let layout = self.layout()?;
        self.model = arrange(self.model.clone(), &layout);
        Ok(())
    }

    fn layout(&self) -> Result<Layout, Error> {
        let trained = QatModel::trained(self).into_iter().map(|it| (it.name, it.shape));
        Ok(Layout::new(trained)?)
    }

    fn direct(&self, job: &Job<'_>) -> Result<Direct, Error> {
        let direct = Direct::new(self.layout()?, job.trainer.config);
        Ok(match self.scale_rate {
            Some(rate) => {
                let is_learned = |name: &str| name.contains(".learned.");
                direct.with_undecayed(is_learned, is_learned_scale, rate)
            }
            None => direct,
        })
    }
}

impl<L: QuantizedLayer, N: QuantizedNorm> QatModel for Built<L, N> {
    fn parameters(&self) -> Vec<Parameter> {
        parameters(&self.model)
    }

    fn trained(&self) -> Vec<Parameter> {
        parameters(&self.model).into_iter().filter(|it| (self.is_trained)(&it.name)).collect()
    }

    fn own_parameters(&self, config: &QatConfig, bits: BitWidth) -> u64 {
        let Some(place) = config.widths.iter().position(|&it| it == bits) else { return 0 };
        let shares_inputs = config.input_bits.is_some();
        let all = parameters(&self.model).into_iter();
        let all = all.filter(|it| is_used(&it.name, place, shares_inputs));
        all.map(|it| it.elements()).sum()
    }

    fn scales(&self, bits: BitWidth) -> Result<u64, Error> {
        let counts = self.model.weights().into_iter().map(|it| it.scale_count(bits));
        Ok(counts.sum::<Result<usize, _>>()? as u64)
    }

    fn learns_scales(&self) -> bool {
        self.scale_rate.is_some()
    }

    fn storage(&self, bits: BitWidth) -> Result<(u64, u64), Error> {
        let mut total = (0, 0);
        for weight in self.model.weights() {
            let (held, weights) = weight.storage(bits)?;
            total = (total.0 + held, total.1 + weights);
        }
        Ok(total)
    }

    fn calibrate(&mut self, config: &QatConfig, batches: &[Tensor<2, Int>]) -> Result<(), Error> {
        calibrate(&self.model, config, batches)?;
        self.settle(config)
    }

    fn restore_calibration(
        &mut self,
        config: &QatConfig,
        calibration: &Calibration,
    ) -> Result<(), Error> {
        self.model.restore_calibration(calibration)?;
        self.settle(config)
    }

    fn calibration(&self) -> Calibration {
        self.model.calibration()
    }

    fn calibrate_gradients(&self, bits: BitWidth, batches: &[Batch]) -> Result<(), Error> {
        let gradients = self.model.gradients();
        let known = gradients.iter().all(|it| it.is_dynamic() || it.calibrated().contains(&bits));
        if bits.is_full() || known {
            return Ok(());
        }
        self.model.set_precision(BitWidth::FULL, BitWidth::FULL)?;
        self.model.start_gradient_calibration(&[bits]);
        for batch in batches {
            drop(cross_entropy(&batch.factors(&self.model), &batch.targets).backward());
        }
        Ok(self.model.finish_gradient_calibration()?)
    }

    fn train(&mut self, job: &Job<'_>, data: &Data<'_>, resume: bool) -> Result<Outcome, Error> {
        let mut direct = self.direct(job)?;
        let learner = Learner { plan: job.plan, config: job.config };
        let model = self.model.clone();
        let (model, outcome) =
            job.trainer.run("train", model, &learner, &mut direct, data, resume)?;
        self.model = job.trainer.restore_last(model, &mut direct)?;
        Ok(outcome)
    }

    fn restore(&mut self, job: &Job<'_>) -> Result<(), Error> {
        let mut direct = self.direct(job)?;
        self.model = job.trainer.restore_last(self.model.clone(), &mut direct)?;
        Ok(())
    }

    fn probe(&mut self, job: &Job<'_>, data: &Data<'_>, steps: u64) -> Result<Vec<f64>, Error> {
        let mut direct = self.direct(job)?;
        let learner = Learner { plan: job.plan, config: job.config };
        job.trainer.probe(&self.model, &learner, &mut direct, &data.train, 0..steps)
    }

    fn score(
        &self,
        config: &QatConfig,
        bits: BitWidth,
        text: &ScoredText<'_>,
    ) -> Result<TokenScores, Error> {
        let mut model = self.model.valid();
        if !bits.is_full() {
            let merged = model.map_layers(|_, layer| Ok(layer.merged()), |_, norm| Ok(norm));
            let Ok::<_, std::convert::Infallible>(merged) = merged;
            model = merged;
        }
        go_to(&model, config, bits)?;
        let scores = text.score(&format!("{bits} bits"), &model)?;
        go_to(&model, config, BitWidth::FULL)?;
        Ok(scores)
    }
}

/// Whether a parameter is a scale that is learned; zero points and offsets may be zero.
fn is_learned_scale(name: &str) -> bool {
    name.contains(".learned.") && name.rsplit('.').next() == Some("scale")
}

/// Whether a parameter is beside the base and of all widths, or of that at `place` among them. Scales of
/// inputs may be of one width for all.
fn is_used(name: &str, place: usize, shares_inputs: bool) -> bool {
    if shares_inputs && name.contains(".input.learned.") {
        return true;
    }
    let mut parts = name.split('.');
    while let Some(part) = parts.next() {
        if ["adapters", "norms", "learned"].contains(&part) {
            return parts.next().and_then(|number| number.parse().ok()) == Some(place);
        }
    }
    name.contains(".lora_")
}

#[cfg(test)]
mod tests {
    use super::is_used;

    #[test]
    fn a_width_uses_what_all_do_and_its_own() {
        for (name, expected) in [
            ("h.0.attn.c_attn.lora.lora_A", true),
            ("h.0.attn.c_attn.adapters.1.factors.lora_B", true),
            ("h.0.attn.c_attn.adapters.0.factors.lora_B", false),
            ("h.1.ln_2.norms.1.bias", true),
            ("h.1.ln_2.norms.10.bias", false),
            ("h.1.mlp.c_fc.quantized.weight.learned.1.scale", true),
            ("h.1.mlp.c_fc.quantized.base.weight", false),
            ("ln_f.weight", false),
        ] {
            assert_eq!(is_used(name, 1, false), expected, "{name}");
        }
        let input = "h.1.mlp.c_fc.quantized.input.learned.0.scale";
        assert!(!is_used(input, 1, false) && is_used(input, 1, true));
    }
}
