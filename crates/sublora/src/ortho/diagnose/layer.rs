//! What is found out about one matrix.

use counter_rng::Key;
use ortho_linear::{
    AnyBase, AnySelection, Base, Cause, Change, ClipRule, CodeWidth, Coding, Construction,
    Diagnosis, Inert, Matrix, OrthoError, Reference, RowClass, RuleError, Scope, Signals, Split,
    SplitConfig, Storage, Verdict, gaussian,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::OrthoDiagnosis;

/// The base of one matrix, and what rules for its scales would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerDiagnosis {
    /// Of the tensor in the checkpoint.
    pub name: String,
    /// `[d_in, d_out]`.
    pub shape: [usize; 2],
    /// What is lost by the cast to the storage type, before any split, of the norm of the weights in the file.
    pub cast: f64,
    /// What the distributions of its output channels look like.
    pub channels: ClassShares,
    /// Share of the weights in the outlier stream.
    pub density: f64,
    /// With a pretrained checkpoint, the share of $\lVert W - W_0 \rVert^2$ that is on the mask.
    pub captured: Option<f64>,
    /// The error of $\alpha = 0$ that normal channels would have, where the construction has a formula.
    pub predicted: Option<f64>,
    /// The error of $\alpha = 0$ that there is, and its parts.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
    /// How its output channels are stored.
    pub codings: CodingShares,
    /// Bytes of the base.
    pub base_bytes: u64,
    /// Bytes of the outlier stream.
    pub outlier_bytes: u64,
    /// Whether the layer may be replaced.
    pub verdict: Verdict,
    /// Every rule for scales: those of base kinds at 8 and 4 bits, then what else was published.
    pub rules: Vec<RuleDiagnosis>,
}

/// Shares of the output channels of a matrix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassShares {
    /// Of [`RowClass::NearZero`].
    pub near_zero: f64,
    /// Of [`RowClass::Gaussian`].
    pub gaussian: f64,
    /// Of [`RowClass::HeavyTailed`].
    pub heavy_tailed: f64,
    /// Of [`RowClass::LightTailed`].
    pub light_tailed: f64,
}

/// Shares of the output channels of a base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CodingShares {
    /// Of [`Coding::Int4`].
    pub int4: f64,
    /// Of [`Coding::Int8`].
    pub int8: f64,
    /// Of [`Coding::Fp16`].
    pub fp16: f64,
    /// Of [`Coding::Stored`].
    pub stored: f64,
}

/// A rule for the scale of an output channel, and what it does to one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RuleDiagnosis {
    /// The rule.
    pub rule: ClipRule,
    /// Bits of a code.
    pub bits: CodeWidth,
    /// Whether it was published with that width, as the base that failed.
    pub published: bool,
    /// Its errors.
    #[serde(flatten)]
    pub error: RuleError,
    /// What is wrong with it, if its error is above the budget.
    pub cause: Option<Cause>,
}

/// What is known of a matrix before it is split.
pub(super) struct Known<'a> {
    pub(super) name: &'a str,
    pub(super) shape: [usize; 2],
    /// `[d_in, d_out]`.
    pub(super) weights: &'a [f32],
    /// The same before fine-tuning.
    pub(super) pretrained: Option<&'a [f32]>,
    /// Of a model, `[tokens, d_in]`.
    pub(super) inputs: Option<&'a [f32]>,
    /// Of a model, `[d_in]`.
    pub(super) hessian: Option<Vec<f32>>,
    /// Of a model, `[d_in, d_out]`.
    pub(super) fisher: Option<Vec<f32>>,
}

impl ClassShares {
    fn of(weights: Matrix<'_>) -> Self {
        let classes = RowClass::of(weights);
        let share =
            |class| classes.iter().filter(|&&it| it == class).count() as f64 / classes.len() as f64;
        Self {
            near_zero: share(RowClass::NearZero),
            gaussian: share(RowClass::Gaussian),
            heavy_tailed: share(RowClass::HeavyTailed),
            light_tailed: share(RowClass::LightTailed),
        }
    }
}

impl CodingShares {
    fn of(base: &Base) -> Self {
        let channels = base.channels();
        let count = |coding| channels.iter().filter(|it| it.coding == coding).count() as f64;
        let share = |coding| count(coding) / channels.len() as f64;
        Self {
            int4: share(Coding::Int4),
            int8: share(Coding::Int8),
            fp16: share(Coding::Fp16),
            stored: share(Coding::Stored),
        }
    }
}

impl OrthoDiagnosis {
    /// Splits a matrix and looks at its base.
    pub(super) fn layer(&self, known: &Known<'_>) -> Result<(LayerDiagnosis, Split), OrthoError> {
        let in_file = Matrix::new(known.weights, known.shape)?;
        let reference = self.split.reference(in_file)?;
        let weights = reference.matrix();
        // In the type that the split has it in, so that a change is one of stored weights.
        let cast = |values| self.split.reference(Matrix::new(values, known.shape)?);
        let pretrained = known.pretrained.map(cast).transpose()?;
        let mut signals = Signals::of(weights);
        if let Some(before) = &pretrained {
            signals = signals.with_pretrained(before.matrix())?;
        }
        if let Some(hessian) = &known.hessian {
            signals = signals.with_hessian(hessian)?;
        }
        if let Some(fisher) = &known.fisher {
            signals = signals.with_fisher(fisher)?;
        }
        let split = self.split.split(&reference, &signals)?;
        let key = Key::from_seed(self.seed).derive("isotropic inputs").derive(known.name);
        let mut diagnosis = Diagnosis::of(&reference, &split, self.tokens, &key)?;
        if let Some(inputs) = known.inputs {
            diagnosis = diagnosis.with_activations(&reference, &split, inputs)?;
        }
        let change = pretrained.map(|before| split.change(&reference, &before)).transpose()?;
        let rules = self.rules(&reference)?;
        let numel = weights.values().len();
        let density = split.outliers().values().len() as f64 / numel as f64;
        let found = LayerDiagnosis {
            name: known.name.to_owned(),
            shape: known.shape,
            cast: reference.cast_error(in_file)?,
            channels: ClassShares::of(weights),
            density,
            captured: change.map(Change::captured),
            predicted: predicted(&self.split, density, &rules),
            diagnosis,
            codings: CodingShares::of(split.base()),
            base_bytes: split.base().bytes() as u64,
            outlier_bytes: split.outliers().bytes() as u64,
            verdict: diagnosis.verdict(self.budget),
            rules,
        };
        Ok((found, split))
    }

    /// What each rule does to a matrix, at the widths of integer bases and as published.
    fn rules(&self, reference: &Reference) -> Result<Vec<RuleDiagnosis>, OrthoError> {
        let widths = [CodeWidth::Eight, CodeWidth::Four];
        let mut rules: Vec<(ClipRule, CodeWidth)> =
            widths.iter().flat_map(|&bits| ClipRule::ALL.map(|rule| (rule, bits))).collect();
        for published in ClipRule::PUBLISHED {
            if !rules.contains(&published) {
                rules.push(published);
            }
        }
        let diagnose = |(rule, bits): (ClipRule, CodeWidth)| {
            let error = rule.error(reference, bits)?;
            let published = ClipRule::PUBLISHED.contains(&(rule, bits));
            let cause = (error.total.measured > self.budget).then(|| error.cause());
            Ok(RuleDiagnosis { rule, bits, published, error, cause })
        };
        rules.into_par_iter().map(diagnose).collect()
    }
}

impl LayerDiagnosis {
    /// Bytes of the matrix in the type that it is stored in.
    pub fn stored_bytes(&self, settings: &OrthoDiagnosis) -> u64 {
        (self.shape[0] * self.shape[1] * settings.split.storage.bytes()) as u64
    }

    /// Why it is refused, if it is.
    pub fn cause(&self) -> Option<Cause> {
        match self.verdict {
            Verdict::Pass => None,
            Verdict::Refuse(cause) => Some(cause),
        }
    }

    /// The verdict in words: what is wrong and what helps, or what alpha does not do.
    pub fn remark(&self, settings: &OrthoDiagnosis) -> String {
        let Diagnosis { error, outputs, activations, .. } = self.diagnosis;
        let percent = |share: f64| format!("{} %", report::significant(100.0 * share, 3));
        let helps = match self.verdict {
            Verdict::Pass => {
                return match self.diagnosis.inert {
                    None => "pass".to_owned(),
                    Some(Inert::EmptyMask) => "pass; alpha inert: no outliers".to_owned(),
                    Some(Inert::ZeroOutliers) => "pass; alpha inert: outliers of zero".to_owned(),
                };
            }
            Verdict::Refuse(Cause::Outputs) => {
                return format!(
                    "outputs: {} on isotropic inputs, where the weights say {}; try more `tokens`",
                    percent(outputs),
                    percent(error)
                );
            }
            Verdict::Refuse(Cause::Clipping) => "a wider range helps, more bits do not",
            Verdict::Refuse(Cause::Steps) => "more bits help, a wider range does not",
            Verdict::Refuse(Cause::Mask) if settings.split.construction == Construction::Delta => {
                "a smaller mask helps, more bits do not"
            }
            Verdict::Refuse(Cause::Mask) => {
                "another construction or a smaller mask helps, more bits do not"
            }
        };
        let cause = self.cause().map_or_else(String::new, |it| it.to_string());
        match activations.filter(|_| error <= settings.budget) {
            None => format!("{cause}: {helps}"),
            Some(it) => {
                format!(
                    "{cause}, {} on the text, {} of weights: {helps}",
                    percent(it),
                    percent(error)
                )
            }
        }
    }

    /// The rule of the base, if it has one: with its width.
    pub fn rule_of(&self, base: &AnyBase) -> Option<&RuleDiagnosis> {
        let (rule, bits) = rule_of(base)?;
        self.rules.iter().find(|it| (it.rule, it.bits) == (rule, bits))
    }

    /// The rules of least and of most error among those that are compared at this width.
    pub fn best_and_worst_rule(&self, bits: CodeWidth) -> Option<[&RuleDiagnosis; 2]> {
        let compared =
            || self.rules.iter().filter(|it| it.bits == bits && ClipRule::ALL.contains(&it.rule));
        let order = |a: &&RuleDiagnosis, b: &&RuleDiagnosis| {
            a.error.total.measured.total_cmp(&b.error.total.measured)
        };
        Some([compared().min_by(order)?, compared().max_by(order)?])
    }
}

/// The rule of a base kind that has one for all channels, and its width.
fn rule_of(base: &AnyBase) -> Option<(ClipRule, CodeWidth)> {
    match base {
        AnyBase::Int8(it) => Some((it.range.into(), CodeWidth::Eight)),
        AnyBase::Int4(it) => Some((it.range.into(), CodeWidth::Four)),
        _ => None,
    }
}

/// The error of a base of normal values: what its rule predicts, or for the largest magnitudes of a matrix of one
/// scale, what is lost beyond them.
fn predicted(config: &SplitConfig, density: f64, rules: &[RuleDiagnosis]) -> Option<f64> {
    let is_by_magnitude = match config.selection.as_ref() {
        None => true,
        Some(AnySelection::Magnitude(it)) => it.scope == Scope::Matrix,
        Some(_) => false,
    };
    let beyond = |error: fn(f64) -> f64| match density {
        0.0 => 0.0,
        _ => error(gaussian::threshold(density)),
    };
    match config.construction {
        Construction::Residual => match &config.base {
            AnyBase::Fp16(_) => (config.storage == Storage::F16).then_some(0.0),
            base => {
                let rule = rule_of(base)?;
                let found = rules.iter().find(|it| (it.rule, it.bits) == rule);
                found.map(|it| it.error.total.predicted)
            }
        },
        Construction::Extract if is_by_magnitude => Some(beyond(gaussian::extract_error)),
        Construction::Clamp if is_by_magnitude && config.threshold == Scope::Matrix => {
            Some(beyond(gaussian::clip_error))
        }
        _ => None,
    }
}
