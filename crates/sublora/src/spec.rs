//! What a decoder needs besides the coded vector: the model, where its base comes from, and the
//! subspace its adapters live in.

use adapters::{LoraConfig, LoraGpt2};
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor};
use corpus::{Partition, Sha256Hash};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2, WeightPath, parameters, read};
use serde::{Deserialize, Serialize};
use subspace_projectors::{Allocated, AllocationError, Layout, Plan, ProjectorError, name_matches};

use crate::Error;
use crate::config::SubspaceConfig;

/// Everything that was fixed before training and that the decoder is told, free of charge: no weight
/// depends on the certified sample through it. The hash of the text says what a certificate of the
/// model can be about, and plays no part in rebuilding it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Shape of the model.
    pub model: Gpt2Config,
    /// Seed of every random part: base, adapters, projector.
    pub seed: u64,
    /// Hash of the corpus it was trained on.
    pub corpus: Sha256Hash,
    /// The frozen weights.
    pub base: BaseIdentity,
    /// Adapters, if any.
    pub lora: Option<LoraConfig>,
    /// Without adapters: patterns of the base weights that move.
    pub trainable: Vec<String>,
    /// The subspace.
    pub sublora: Option<SubspaceConfig>,
}

/// Base weights, told apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum BaseIdentity {
    /// Drawn from the seed.
    Random,
    /// Pretrained by the run on a part of the corpus that is not certified.
    PriorSplit {
        /// That part.
        prior: Partition,
        /// Of names, shapes and values in the order of the model.
        sha256: Sha256Hash,
    },
    /// A checkpoint from elsewhere: nobody can check what it was trained on.
    External {
        /// Of names, shapes and values in the order of the model.
        sha256: Sha256Hash,
    },
}

impl BaseIdentity {
    /// The identity of given weights, pretrained on `prior` or from elsewhere.
    ///
    /// # Errors
    /// If the device does not hand a weight back.
    pub fn of(base: &PlainGpt2, prior: Option<Partition>) -> Result<Self, Error> {
        let mut parts = vec![b"sublora base 1".to_vec()];
        for (name, data) in read(base, |_| true)? {
            parts.push(format!("\n{name} {:?}\n", data.shape()).into_bytes());
            parts.push(data.iter::<f32>().flat_map(f32::to_le_bytes).collect());
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let sha256 = Sha256Hash::of(&parts);
        Ok(match prior {
            Some(prior) => Self::PriorSplit { prior, sha256 },
            None => Self::External { sha256 },
        })
    }

    /// Whether a certificate holds only if these weights never saw the text, which no file can show.
    pub fn is_external(&self) -> bool {
        matches!(self, Self::External { .. })
    }

    /// The hash of these weights; none of weights that follow from a seed.
    pub fn sha256(&self) -> Option<Sha256Hash> {
        match self {
            Self::Random => None,
            Self::PriorSplit { sha256, .. } | Self::External { sha256 } => Some(*sha256),
        }
    }

    /// The part of the corpus that these weights were pretrained on.
    pub fn prior(&self) -> Option<Partition> {
        match self {
            Self::PriorSplit { prior, .. } => Some(*prior),
            Self::Random | Self::External { .. } => None,
        }
    }
}

impl Spec {
    /// The random base of this spec.
    ///
    /// # Errors
    /// A shape that is no GPT-2.
    pub fn random_base(&self, device: &Device) -> Result<PlainGpt2, Error> {
        Ok(PlainGpt2::random(&self.model, self.key("base"), device)?)
    }

    /// Puts the adapters in and marks what is trained, in the order of the model.
    ///
    /// # Errors
    /// A base that is not the one of this spec, adapters that make no sense, or nothing to train.
    pub fn assemble(&self, base: PlainGpt2) -> Result<(LoraGpt2, Layout), Error> {
        if self.base != BaseIdentity::Random
            && BaseIdentity::of(&base, self.base.prior())? != self.base
        {
            let message = "the base weights are not the ones this model was trained on".to_owned();
            return Err(Error::Mismatch(message));
        }
        let adapters =
            self.lora.clone().unwrap_or(LoraConfig { sites: vec![], ..Default::default() });
        let model = adapters.adapt(base, self.key("lora"))?;
        let is_adapter = |name: &str| name.ends_with(".lora_A") || name.ends_with(".lora_B");
        let chosen = |name: &str| match &self.lora {
            Some(_) => is_adapter(name),
            None => self.trainable.iter().any(|pattern| name_matches(pattern, &trim_base(name))),
        };
        let weights = parameters(&model).into_iter().filter(|weight| chosen(&weight.name));
        let layout = Layout::new(weights.map(|weight| (weight.name, weight.shape)))?;
        if layout.ambient() == 0 {
            let reason = "nothing to train: no adapter site is listed and no weight is chosen";
            return Err(Error::Config(reason.to_owned()));
        }
        Ok((arrange(model, &layout), layout))
    }

    /// From the coordinates to the weights of `layout`, if this spec has a subspace.
    ///
    /// # Errors
    /// A dimension, an allocation or sites that do not fit `layout`.
    pub fn allocated(&self, layout: &Layout) -> Result<Option<Allocated>, Error> {
        let Some(subspace) = &self.sublora else { return Ok(None) };
        let (allocation, method) = (subspace.allocation.as_dyn(), subspace.projector.as_dyn());
        let (d, key) = (subspace.intrinsic_dim, self.key("projector"));
        Ok(Some(Allocated::new(allocation, method, layout, d, key)?))
    }

    /// Errs unless every part of the model has at least as many parameters as coordinates; without a
    /// model, so that of a subspace of the base, which `trainable` may be a part of, all weights count.
    /// What a projector asks of its sites is found when it is built.
    ///
    /// # Errors
    /// As [`allocated`](Self::allocated).
    pub(crate) fn check_allocation(&self) -> Result<(), Error> {
        let (Some(subspace), Some(plan)) = (&self.sublora, self.plan()?) else { return Ok(()) };
        let intrinsic = subspace.intrinsic_dim;
        let layout = self.lora.as_ref().map(|lora| Layout::new(lora.weights(&self.model)));
        let layout = layout.transpose()?;
        let ambient = layout.as_ref().map_or_else(
            || usize::try_from(self.model.parameter_count()).unwrap_or(usize::MAX),
            Layout::ambient,
        );
        if intrinsic == 0 {
            return Err(AllocationError::from(ProjectorError::NoDimension).into());
        }
        if intrinsic > ambient {
            let error = ProjectorError::AboveAmbient { intrinsic, ambient };
            return Err(AllocationError::from(error).into());
        }
        let Some(layout) = layout else { return Ok(()) };
        for part in plan.parts {
            let held = layout.tensors().iter().filter(|it| part.holds(it));
            let parameters = held.map(|it| it.range().len()).sum();
            let d = part.coordinates.len();
            if d > parameters {
                return Err(AllocationError::TooWide { part, d, parameters }.into());
            }
        }
        Ok(())
    }

    /// Who receives which coordinates, if this spec has a subspace; without a model.
    ///
    /// # Errors
    /// As [`allocated`](Self::allocated), as far as the plan tells.
    pub(crate) fn plan(&self) -> Result<Option<Plan>, Error> {
        let Some(subspace) = &self.sublora else { return Ok(None) };
        let weights = self.lora.as_ref().map(|lora| lora.weights(&self.model));
        let layout = Layout::new(weights.unwrap_or_default())?;
        Ok(Some(subspace.allocation.as_dyn().plan(&layout, subspace.intrinsic_dim)?))
    }

    /// As it stands in checkpoints.
    pub(crate) fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|error| Error::config(&error))
    }

    fn key(&self, purpose: &str) -> Key {
        Key::from_seed(self.seed).derive(purpose)
    }
}

/// A layer's frozen weight is a field of the adapter that wraps it; users name it as in a checkpoint.
fn trim_base(name: &str) -> String {
    name.replace(".base.", ".")
}

/// Gives every weight the number of its place, so that an optimiser's state finds it again in another
/// process, and gradients to those of `layout` only.
pub(crate) fn arrange<M: Module>(model: M, layout: &Layout) -> M {
    model.map(&mut Arrange { path: WeightPath::default(), next: 0, layout })
}

struct Arrange<'a> {
    path: WeightPath,
    next: u64,
    layout: &'a Layout,
}

impl ModuleMapper for Arrange<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let trained = self.layout.tensor(&name).is_some();
        self.next += 1;
        let (_, value, mapper) = param.consume();
        let param = Param::from_mapped_value(ParamId::from(self.next), value.detach(), mapper);
        param.set_require_grad(trained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_identity_of_weights_is_their_names_shapes_and_bits() {
        let spec = fixture::spec(8);
        let base = fixture::base(&spec);
        let identity = BaseIdentity::of(&base, None).unwrap();
        assert_eq!(BaseIdentity::of(&fixture::base(&spec), None).unwrap(), identity);
        let prior = Some(Partition { fraction: 0.5, seed: 3 });
        let pretrained = BaseIdentity::of(&base, prior).unwrap();
        assert_eq!((pretrained.prior(), pretrained.is_external()), (prior, false));
        assert_eq!((identity.prior(), identity.is_external()), (None, true));
        assert!(!BaseIdentity::Random.is_external());
        let nudged = gpt2_model::assign(base, |name, shape| {
            let mut values = vec![1.0; shape.iter().product()]; // as gains begin
            values[0] = 1.000_000_1;
            (name == "h.1.ln_2.weight").then_some(values)
        });
        assert_ne!(BaseIdentity::of(&nudged, None).unwrap(), identity);
        let other = Spec { base: identity, ..spec };
        let error = other.assemble(nudged).err().unwrap().to_string();
        assert_eq!(error, "the base weights are not the ones this model was trained on");
    }

    #[test]
    fn what_is_trained_is_the_adapters_or_what_a_pattern_names() {
        let names = |spec: Spec| -> Vec<String> {
            let (_, layout) = spec.assemble(fixture::base(&spec)).unwrap();
            layout.tensors().iter().map(|it| it.name().to_owned()).collect()
        };
        let adapters = names(fixture::spec(8));
        assert_eq!(adapters.len(), 2 * (2 + 2 + 1)); // A and B of q and v in two blocks, and the head
        assert!(adapters.iter().all(|it| it.ends_with(".lora_A") || it.ends_with(".lora_B")));
        let without = |pattern: &str| Spec {
            lora: None,
            trainable: vec![pattern.to_owned()],
            ..fixture::spec(8)
        };
        assert_eq!(names(without("wpe*")), ["wpe.weight"]);
        let spec = without("nothing");
        let error = spec.assemble(fixture::base(&spec)).err().unwrap().to_string();
        assert!(error.starts_with("nothing to train"), "{error}");
    }
}
