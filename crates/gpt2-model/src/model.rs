//! GPT-2 over any linear and norm layer.

use burn::module::Module;
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::{Device, Int, Tensor};
use counter_rng::Key;

use crate::attention::causal_mask;
use crate::{
    Attention, Block, ConfigError, Factor, Gpt2Config, LinearLayer, Mlp, NormLayer, PlainGpt2,
    assign,
};

/// GPT-2 (Radford et al. 2019): token and position embeddings, pre-norm blocks, a final norm and a
/// vocabulary head tied to the token embedding.
#[derive(Module, Debug)]
pub struct Gpt2<L: Module, N: Module> {
    /// Token embedding, `[vocab, d_model]`.
    pub wte: Embedding,
    /// Position embedding, `[n_positions, d_model]`.
    pub wpe: Embedding,
    /// The blocks in order.
    pub h: Vec<Block<L, N>>,
    /// Before the head.
    pub ln_f: N,
    /// `[d_model, vocab]`; none is the plain tied head, the transpose of `wte`.
    pub lm_head: Option<L>,
}

impl<L: LinearLayer, N: NormLayer> Gpt2<L, N> {
    /// What the head reads.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`, `seq` at most `n_positions`
    /// - output: `[batch, seq, d_model]`
    pub fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_batch, seq] = tokens.dims();
        let device = tokens.device();
        let positions =
            Tensor::arange(0..i64::try_from(seq).unwrap_or(i64::MAX), &device).unsqueeze();
        let mask = causal_mask(seq, &device);
        let x = self.wte.forward(tokens) + self.wpe.forward(positions);
        self.ln_f.forward(self.h.iter().fold(x, |x, block| block.forward(x, &mask)))
    }

    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - output: `[batch, seq, vocab]`
    pub fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let hidden = self.hidden(tokens);
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => hidden.matmul(self.tied_head().unsqueeze()),
        }
    }

    /// The head left as a sum of products, for a loss that is fused with it.
    ///
    /// # Shapes
    /// - hidden: `[tokens, d_model]`
    pub fn head_factors(&self, hidden: Tensor<2>) -> Vec<Factor> {
        match &self.lm_head {
            Some(head) => head.factors(hidden),
            None => vec![Factor { input: hidden, weight: Some(self.tied_head()) }],
        }
    }

    /// `[d_model, vocab]`, a view of the token embedding.
    pub fn tied_head(&self) -> Tensor<2> {
        self.wte.weight.val().transpose()
    }

    /// Width of the logits and longest context.
    pub fn limits(&self) -> (usize, usize) {
        (self.wte.weight.dims()[0], self.wpe.weight.dims()[0])
    }

    /// Replaces every layer, named as in a checkpoint (`h.0.attn.c_attn`, `h.0.ln_1`, `ln_f`).
    /// A head of its own is `lm_head`, and comes first; a tied one stays tied.
    ///
    /// # Errors
    /// The first of either function.
    pub fn map_layers<L2: LinearLayer, N2: NormLayer, E>(
        self,
        mut linear: impl FnMut(&str, L) -> Result<L2, E>,
        mut norm: impl FnMut(&str, N) -> Result<N2, E>,
    ) -> Result<Gpt2<L2, N2>, E> {
        let lm_head = self.lm_head.map(|head| linear("lm_head", head)).transpose()?;
        let mut block = |(i, block): (usize, Block<L, N>)| -> Result<Block<L2, N2>, E> {
            Ok(Block {
                ln_1: norm(&format!("h.{i}.ln_1"), block.ln_1)?,
                attn: Attention {
                    c_attn: linear(&format!("h.{i}.attn.c_attn"), block.attn.c_attn)?,
                    c_proj: linear(&format!("h.{i}.attn.c_proj"), block.attn.c_proj)?,
                    n_head: block.attn.n_head,
                },
                ln_2: norm(&format!("h.{i}.ln_2"), block.ln_2)?,
                mlp: Mlp {
                    c_fc: linear(&format!("h.{i}.mlp.c_fc"), block.mlp.c_fc)?,
                    c_proj: linear(&format!("h.{i}.mlp.c_proj"), block.mlp.c_proj)?,
                    activation: block.mlp.activation,
                },
            })
        };
        let h = self.h.into_iter().enumerate().map(&mut block).collect::<Result<_, E>>()?;
        let ln_f = norm("ln_f", self.ln_f)?;
        Ok(Gpt2 { wte: self.wte, wpe: self.wpe, h, ln_f, lm_head })
    }
}

impl PlainGpt2 {
    /// All weights zero, norms one; nothing is allocated before a weight is read or assigned.
    ///
    /// # Errors
    /// A `config` that is no GPT-2.
    pub fn zeros(config: &Gpt2Config, device: &Device) -> Result<Self, ConfigError> {
        config.validate()?;
        let Gpt2Config { n_embd, n_head, bias, .. } = *config;
        let embedding = |rows| {
            EmbeddingConfig::new(rows, n_embd).with_initializer(Initializer::Zeros).init(device)
        };
        let linear = |input, output| {
            let config = LinearConfig::new(input, output).with_bias(bias);
            config.with_initializer(Initializer::Zeros).init(device)
        };
        let norm = || -> LayerNorm {
            let norm = LayerNormConfig::new(n_embd).with_bias(bias);
            norm.with_epsilon(config.layer_norm_epsilon).init(device)
        };
        let block = |_| -> Block<Linear, LayerNorm> {
            Block {
                ln_1: norm(),
                attn: Attention {
                    c_attn: linear(n_embd, 3 * n_embd),
                    c_proj: linear(n_embd, n_embd),
                    n_head,
                },
                ln_2: norm(),
                mlp: Mlp {
                    c_fc: linear(n_embd, 4 * n_embd),
                    c_proj: linear(4 * n_embd, n_embd),
                    activation: config.activation_function,
                },
            }
        };
        Ok(Self {
            wte: embedding(config.vocab_size),
            wpe: embedding(config.n_positions),
            h: (0..config.n_layer).map(block).collect(),
            ln_f: norm(),
            lm_head: None,
        })
    }

    /// Random weights as nanoGPT draws them: $N(0, 0.02^2)$, the projections into the residual
    /// stream $N(0, (0.02/\sqrt{2 n_{layer}})^2)$, biases zero, norms one. The bits depend on `key`
    /// and the names of the weights only, on no backend.
    ///
    /// # Errors
    /// A `config` that is no GPT-2.
    pub fn random(config: &Gpt2Config, key: Key, device: &Device) -> Result<Self, ConfigError> {
        let residual = 0.02 / (2.0 * config.n_layer as f32).sqrt();
        let model = Self::zeros(config, device)?;
        Ok(assign(model, |name, shape| {
            let std = match name {
                _ if shape.len() != 2 => return None,
                _ if name.ends_with("c_proj.weight") => residual,
                _ => 0.02,
            };
            let mut values = vec![0.0; shape.iter().product()];
            key.derive(name).fill_normal(0, &mut values);
            for value in &mut values {
                *value *= std;
            }
            Some(values)
        }))
    }
}
