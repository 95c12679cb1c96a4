//! Where adapters stand in a GPT-2.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::low_rank::uniform;
use crate::{LoraFactors, LoraGpt2, LoraLinear};

/// A linear map of GPT-2 that can be adapted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// Query columns of `attn.c_attn`.
    Query,
    /// Key columns of `attn.c_attn`.
    Key,
    /// Value columns of `attn.c_attn`.
    Value,
    /// Output projection of attention, `attn.c_proj`.
    AttentionOutput,
    /// `mlp.c_fc`.
    MlpUp,
    /// `mlp.c_proj`.
    MlpDown,
    /// The vocabulary head: the term is added to the logits, the tied embedding stays frozen.
    Head,
}

impl Site {
    /// The name of its adapter inside a block, or in the model for the head, with the input and output
    /// width of the adapted part.
    fn map_of(self, model: &Gpt2Config) -> (&'static str, [usize; 2]) {
        let e = model.n_embd;
        match self {
            Self::Query => ("attn.c_attn.q", [e, e]),
            Self::Key => ("attn.c_attn.k", [e, e]),
            Self::Value => ("attn.c_attn.v", [e, e]),
            Self::AttentionOutput => ("attn.c_proj.full", [e, e]),
            Self::MlpUp => ("mlp.c_fc.full", [e, 4 * e]),
            Self::MlpDown => ("mlp.c_proj.full", [4 * e, e]),
            Self::Head => ("lm_head.full", [e, model.vocab_size]),
        }
    }
}

/// Which sites are adapted, and how. The default is the reference `SubLoRA` setting (arXiv:2312.17173)
/// with its dropout of 0.1 left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Inner dimension $r$ of every pair.
    pub rank: usize,
    /// Numerator of the scale $s = \alpha / r$.
    pub alpha: f64,
    /// Drop probability on the input of the low-rank terms while training.
    pub dropout: f64,
    /// Adapted sites, each at most once.
    pub sites: Vec<Site>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 4,
            alpha: 32.0,
            dropout: 0.0,
            sites: vec![Site::Query, Site::Value, Site::Head],
        }
    }
}

/// An adapter configuration that makes no sense.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LoraError {
    /// Rank zero adapts nothing.
    #[error("`rank` is 0, expected at least 1; leave `sites` empty to adapt nothing")]
    Rank,
    /// A pair with more weights than the map it adapts.
    #[error("`rank` is {rank}, expected at most the width of the model, {d_model}")]
    RankAboveWidth {
        /// The rank.
        rank: usize,
        /// The width of the residual stream.
        d_model: usize,
    },
    /// Not a probability below one.
    #[error("`dropout` is {0}, expected a number in [0, 1)")]
    Dropout(f64),
    /// Not a finite `f32`.
    #[error("`alpha` is {0}, expected a finite number below 3.4e38")]
    Alpha(f64),
    /// The same site twice.
    #[error("site `{0:?}` is listed twice")]
    Repeated(Site),
}

impl LoraConfig {
    /// The sites of the enhanced setting of Kuang et al. (arXiv:2407.18158): all of them.
    pub const ALL_SITES: [Site; 7] = [
        Site::Query,
        Site::Key,
        Site::Value,
        Site::AttentionOutput,
        Site::MlpUp,
        Site::MlpDown,
        Site::Head,
    ];

    /// What can be said without a model.
    ///
    /// # Errors
    /// The first field that makes no sense.
    pub fn validate(&self) -> Result<(), LoraError> {
        if self.rank == 0 {
            return Err(LoraError::Rank);
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(LoraError::Dropout(self.dropout));
        }
        let largest = f64::from(f32::MAX);
        if !(-largest..=largest).contains(&self.alpha) {
            return Err(LoraError::Alpha(self.alpha));
        }
        match self.sites.iter().enumerate().find(|(i, site)| self.sites[..*i].contains(site)) {
            Some((_, &site)) => Err(LoraError::Repeated(site)),
            None => Ok(()),
        }
    }

    /// Also holds the adapters against the model they are for: a rank above its width would buy
    /// weights and no new map, and a file could ask for any number of them.
    ///
    /// # Errors
    /// The first field that makes no sense.
    pub fn validate_for(&self, model: &Gpt2Config) -> Result<(), LoraError> {
        self.validate()?;
        self.check_rank(model.n_embd)
    }

    fn check_rank(&self, d_model: usize) -> Result<(), LoraError> {
        match self.rank {
            rank if rank > d_model => Err(LoraError::RankAboveWidth { rank, d_model }),
            _ => Ok(()),
        }
    }

    /// Weights of the adapters in `model`, both of them valid.
    pub fn weight_count(&self, model: &Gpt2Config) -> u64 {
        let sizes = self.sites.iter().map(|&site| {
            let (_, [input, output]) = site.map_of(model);
            let times = if site == Site::Head { 1 } else { model.n_layer as u64 };
            times * (input as u64 + output as u64)
        });
        self.rank as u64 * sizes.sum::<u64>()
    }

    /// Names and shapes of the adapters in `model`, in its order: what [`adapt`](Self::adapt) would put
    /// in, without a weight.
    pub fn weights(&self, model: &Gpt2Config) -> Vec<(String, [usize; 2])> {
        let mut weights = Vec::new();
        let mut add = |prefix: &str, site: Site| {
            if self.sites.contains(&site) {
                let (name, [input, output]) = site.map_of(model);
                weights.push((format!("{prefix}{name}.lora_A"), [self.rank, input]));
                weights.push((format!("{prefix}{name}.lora_B"), [output, self.rank]));
            }
        };
        for layer in 0..model.n_layer {
            for site in Self::ALL_SITES.into_iter().filter(|&site| site != Site::Head) {
                add(&format!("h.{layer}."), site);
            }
        }
        add("", Site::Head);
        weights
    }

    /// Freezes `base` and puts the adapters in: $A$ uniform on $\pm 1/\sqrt{d_{input}}$, $B$ zero. The
    /// bits depend on `key` and the place of the adapter only.
    ///
    /// # Errors
    /// As [`validate_for`](Self::validate_for).
    pub fn adapt(&self, base: PlainGpt2, key: Key) -> Result<LoraGpt2, LoraError> {
        self.validate()?;
        let [_vocab, d_model] = base.wte.weight.lazy_shape().dims();
        self.check_rank(d_model)?;
        let has = |site| self.sites.contains(&site);
        let head = has(Site::Head).then(|| {
            // A view of the embedding: the tied head shares its storage.
            let weight = Param::from_tensor(base.tied_head().detach());
            let mut head = self.layer(Linear { weight, bias: None });
            head.full = Some(self.factors(&head.base, 0, 1, key.derive("lm_head")));
            head
        });
        let mut model = base.no_grad().map_layers(
            |name, linear| {
                let mut layer = self.layer(linear);
                let key = key.derive(name);
                let on = |site, part, parts| {
                    has(site).then(|| self.factors(&layer.base, part, parts, key))
                };
                if name.ends_with("attn.c_attn") {
                    let parts = [on(Site::Query, 0, 3), on(Site::Key, 1, 3), on(Site::Value, 2, 3)];
                    [layer.q, layer.k, layer.v] = parts;
                } else if name.ends_with("attn.c_proj") {
                    layer.full = on(Site::AttentionOutput, 0, 1);
                } else if name.ends_with("mlp.c_fc") {
                    layer.full = on(Site::MlpUp, 0, 1);
                } else {
                    layer.full = on(Site::MlpDown, 0, 1);
                }
                Ok(layer)
            },
            |_, norm| Ok(norm),
        )?;
        model.lm_head = head;
        Ok(model)
    }

    fn layer(&self, linear: Linear) -> LoraLinear {
        LoraLinear::new(linear, self.alpha / self.rank as f64, self.dropout)
    }

    /// A pair for part `part` of `parts` equal parts of the output of `base`.
    fn factors(&self, base: &Linear, part: usize, parts: usize, key: Key) -> LoraFactors {
        let [d_input, d_output] = base.weight.dims();
        let width = d_output / parts;
        let device = base.weight.device();
        let a = uniform(key.index(part as u64), [self.rank, d_input]);
        LoraFactors {
            lora_A: Param::from_data(TensorData::new(a, [self.rank, d_input]), &device),
            lora_B: Param::from_tensor(Tensor::zeros([width, self.rank], &device)),
            start: part * width,
        }
    }
}
