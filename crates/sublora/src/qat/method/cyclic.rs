//! Cyclic precision training, and training at one width: whatever the schedule says.

use adapters::{
    BaseWeights, ByWidth, CalibrationError, CyclicConfig, FakeQuantConfig, GradientPlace,
    GradientRounding, Rank, Scales,
};
use counter_rng::Key;
use gpt2_model::PlainGpt2;
use precision_schedule::{CostPolicy, OperandWidth, Schedule, ScheduleConfig};
use quantizers::{BitWidth, Grid as _, Symmetric};
use serde::{Deserialize, Serialize};

use super::{Plan, QatMethod, operand, policy};
use crate::Error;
use crate::qat::config::QatConfig;
use crate::qat::distillation::Visit;
use crate::qat::model::{Built, QatModel};

/// One width a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cyclic {
    /// Width of every step; a schedule with `kind = "constant"` is static training.
    pub precision: ScheduleConfig,
    /// Inner dimension $r$ of the adapters; 0 for none.
    pub rank: usize,
    /// Numerator of the scale $s = \alpha / r$.
    pub alpha: f64,
    /// Quantisation of the factors of the adapters; none, `[]` in a file, leaves them as they are.
    #[serde(with = "super::rules_or_none")]
    pub factors: Option<ByWidth>,
    /// Whether the base is trained, too.
    pub base: BaseWeights,
    /// Width of gradients, whatever that of the layers.
    pub gradient_bits: BitWidth,
    /// Which gradients are quantised.
    pub gradient_at: GradientPlace,
}

impl Default for Cyclic {
    fn default() -> Self {
        let CyclicConfig { factors, rank, alpha, base, gradient_at, .. } = CyclicConfig::default();
        let gradient_bits = BitWidth::new(8).unwrap_or(BitWidth::FULL);
        let precision = ScheduleConfig::default();
        Self { precision, rank, alpha, factors, base, gradient_bits, gradient_at }
    }
}

impl Cyclic {
    /// The schedule of the run.
    ///
    /// # Errors
    /// One that does not fit the run, or a width that no quantiser has.
    pub fn schedule(&self, config: &QatConfig) -> Result<Schedule, Error> {
        let schedule = self.precision.over(config.train.steps);
        let schedule =
            schedule.map_err(|error| Error::Config(format!("`method.precision`: {error}")))?;
        config.check_widths("method.precision.widths", schedule.widths())?;
        Ok(schedule)
    }
}

/// With random words of the run.
fn seeded(rounding: &GradientRounding, run: u64) -> GradientRounding {
    match rounding {
        GradientRounding::Stochastic { seed } => GradientRounding::Stochastic {
            seed: Key::from_seed(run).derive("gradients").index(*seed).words(0).next().unwrap_or(0),
        },
        GradientRounding::Nearest { .. } => rounding.clone(),
    }
}

fn width(bits: u32) -> Option<BitWidth> {
    u8::try_from(bits).ok().and_then(|bits| BitWidth::new(bits).ok())
}

impl QatMethod for Cyclic {
    fn check(&self, config: &QatConfig) -> Result<(), Error> {
        if self.rank > 0 {
            Rank { rank: self.rank, alpha: self.alpha }.validate()?;
        } else if self.base == BaseWeights::Frozen {
            let reason = "`method.rank` is 0 and `method.base` is frozen: nothing would be trained";
            return Err(Error::Config(reason.to_owned()));
        }
        if let (GradientPlace::Factors, GradientRounding::Nearest { .. }) =
            (self.gradient_at, &config.quantize.gradient)
        {
            let reason = "`quantize.gradient.rounding` is nearest, expected stochastic where \
                          `method.gradient_at` is factors: before the first step the gradient of A is zero \
                          and has no range";
            return Err(Error::Config(reason.to_owned()));
        }
        if self.base == BaseWeights::Trained && !config.quantize.embeddings.bits.is_full() {
            let reason = "`quantize.embeddings.bits` is below 32, expected 32 where `method.base` is \
                          trained: embeddings are quantised once, before training";
            return Err(Error::Config(reason.to_owned()));
        }
        let has_codes = Symmetric::default().codes(self.gradient_bits).is_ok();
        if !has_codes && !self.gradient_bits.is_full() {
            return Err(Error::value(
                "method.gradient_bits",
                &self.gradient_bits,
                "2 to 16, or 32",
            ));
        }
        self.schedule(config).map(drop)
    }

    fn build(
        &self,
        base: PlainGpt2,
        config: &QatConfig,
        key: Key,
    ) -> Result<Box<dyn QatModel>, CalibrationError> {
        let weight_scales = match self.base {
            BaseWeights::Frozen => config.quantize.weight_scales,
            BaseWeights::Trained => Scales::Dynamic, // they follow the weights
        };
        let layers = CyclicConfig {
            quantize: FakeQuantConfig {
                weight_scales,
                gradient: seeded(&config.quantize.gradient, config.seed),
                ..config.quantize.clone()
            },
            factors: self.factors.clone(),
            rank: self.rank,
            alpha: self.alpha,
            base: self.base,
            gradient_at: self.gradient_at,
        };
        let model = layers.apply(base, key)?;
        let all = self.base == BaseWeights::Trained;
        let trained = move |name: &str| all || name.contains(".lora_") || name.contains("ln_");
        Ok(Box::new(Built::new(model, trained)))
    }

    fn plan(&self, config: &QatConfig) -> Result<Option<Box<dyn Plan>>, Error> {
        let (schedule, gradients) = (self.schedule(config)?, self.gradient_bits);
        Ok(Some(Box::new(Scheduled { schedule, gradients })))
    }

    fn cost(&self, config: &QatConfig, bits: BitWidth) -> (CostPolicy, usize) {
        let weight = self.factors.as_ref().map_or(OperandWidth::FULL, |_| OperandWidth::SCHEDULED);
        let inputs = operand(bits, config.inputs_at(bits));
        let policy = policy(config, bits, self.base, self.gradient_bits, [weight, inputs]);
        (policy, if bits.is_full() { 0 } else { self.rank })
    }
}

/// One pass a step at the width of the schedule.
struct Scheduled {
    schedule: Schedule,
    gradients: BitWidth,
}

impl Plan for Scheduled {
    fn visits(&self, step: u64) -> Vec<Visit> {
        let bits = width(self.schedule.bits(step)).unwrap_or(BitWidth::FULL);
        vec![Visit::alone(bits)]
    }

    fn gradients(&self) -> BitWidth {
        self.gradients
    }
}
