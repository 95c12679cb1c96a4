//! A split as it stands in a configuration.

use serde::{Deserialize, Serialize};

use crate::{
    AnyBase, AnySelection, Construction, IndexWidth, Matrix, OrthoError, Reference, Scope, Signals,
    Split, Storage,
};

/// How matrices are split: one rule for all layers of a model.
///
/// ```toml
/// construction = "delta"
/// storage = "f16"
/// selection = { kind = "memory-delta", ratio = 0.005 }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// What the base is on the mask.
    pub construction: Construction,
    /// How the base is stored; of `residual` alone, the other constructions keep the stored weights.
    pub base: AnyBase,
    /// Which weights are outliers. None for the choice of the base kind, if it makes one
    /// ([`Base::outside`](crate::Base::outside)), and else the largest half percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<AnySelection>,
    /// The type that the stored weights are cast to, which the split is exact about.
    pub storage: Storage,
    /// What shares a threshold of `clamp`.
    pub threshold: Scope,
    /// Bits of the indices of the outlier stream.
    pub indices: IndexWidth,
}

/// A compressed base that is completed on the largest weights: what alpha then leaves out is a correction.
impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            construction: Construction::Residual,
            base: AnyBase::default(),
            selection: None,
            storage: Storage::default(),
            threshold: Scope::default(),
            indices: IndexWidth::default(),
        }
    }
}

impl SplitConfig {
    /// The stored matrix of `weights`: in the storage type, and without negative zeros, which are not the
    /// sum of two other numbers.
    ///
    /// # Errors
    /// [`OrthoError::Overflow`].
    pub fn reference(&self, weights: Matrix<'_>) -> Result<Reference, OrthoError> {
        Ok(Reference::cast(weights, self.storage)?.with_positive_zeros().0)
    }

    /// The split of a stored matrix, given what `signals` tell of it; its weights take the place of theirs.
    ///
    /// # Errors
    /// [`OrthoError::Missing`] for a selection or construction without the signal that it needs, or what the
    /// selection, the base kind and the split say.
    pub fn split(&self, reference: &Reference, signals: &Signals<'_>) -> Result<Split, OrthoError> {
        let signals = Signals { weights: reference.matrix(), ..*signals };
        let select = || self.selection.clone().unwrap_or_default().as_dyn().select(&signals);
        match self.construction {
            Construction::Extract => Split::extract(reference, &select()?, self.indices),
            Construction::Clamp => {
                Split::clamp(reference, &select()?, self.threshold, self.indices)
            }
            Construction::Delta => {
                let (selection, needs) = ("delta", "the pretrained matrix");
                let before = signals.pretrained.ok_or(OrthoError::Missing { selection, needs })?;
                Split::delta(reference, &self.reference(before)?, &select()?, self.indices)
            }
            Construction::Residual => {
                let base = self.base.as_dyn().encode(reference)?;
                let mask = match (&self.selection, base.outside()) {
                    (None, Some(outside)) => outside.clone(),
                    _ => select()?,
                };
                Split::residual(reference, base, &mask, self.indices)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alpha, Inert};

    /// The largest of eight is one.
    const VALUES: [f32; 8] = [0.5, -0.25, 0.125, -4.0, 0.375, 0.0625, -0.0, 0.75];

    fn split(text: &str) -> Result<(Reference, Split), OrthoError> {
        let config: SplitConfig = toml::from_str(text).unwrap();
        let weights = Matrix::new(&VALUES, [4, 2])?;
        let before = VALUES.map(|it| if it == -4.0 { -1.0 } else { it });
        let before = Matrix::new(&before, [4, 2])?;
        let signals = Signals::of(weights).with_pretrained(before)?;
        let reference = config.reference(weights)?;
        let split = config.split(&reference, &signals)?;
        Ok((reference, split))
    }

    #[test]
    fn every_construction_by_its_name() {
        let select = "selection = { kind = \"magnitude\", ratio = 0.125 }";
        for (construction, expected) in
            [("extract", 0.0), ("clamp", -0.75), ("delta", -1.0), ("residual", -4.0)]
        {
            let text = format!("construction = \"{construction}\"\n{select}");
            let (reference, split) = split(&text).unwrap();
            assert_eq!(split.materialise(Alpha::BASE)[3], expected, "{construction}");
            assert_eq!(split.materialise(Alpha::STORED), reference.matrix().values());
            assert_eq!(reference.matrix().values()[6].to_bits(), 0); // not -0
            let inert = (construction == "residual").then_some(Inert::ZeroOutliers);
            assert_eq!(split.inert(), inert, "{construction}");
        }
    }

    #[test]
    fn without_a_selection_the_base_kind_chooses() {
        let bulk = "base = { kind = \"bulk\", low = 0.0, high = 0.5 }";
        // Above the median of each channel of four: two of each.
        assert_eq!(split(bulk).unwrap().1.outliers().values().len(), 4);
        let text = format!("{bulk}\nselection = {{ kind = \"magnitude\", ratio = 0.125 }}");
        assert_eq!(split(&text).unwrap().1.outliers().values().len(), 1);
        // Half a percent of eight is none.
        assert_eq!(split("").unwrap().1.inert(), Some(Inert::EmptyMask));
    }

    #[test]
    fn a_change_needs_what_was_before() {
        let config = SplitConfig { construction: Construction::Delta, ..SplitConfig::default() };
        let weights = Matrix::new(&VALUES, [4, 2]).unwrap();
        let reference = config.reference(weights).unwrap();
        let error = config.split(&reference, &Signals::of(weights)).unwrap_err();
        assert_eq!(error.to_string(), "`delta` needs the pretrained matrix, which was not given");
    }
}
