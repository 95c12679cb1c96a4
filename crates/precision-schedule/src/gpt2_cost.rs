//! The multiplications of a GPT-2.
//!
//! # Definition
//! Of a sequence of $s$ tokens, width $m$, $L$ blocks, $h$ heads and $V$ tokens in the vocabulary, a forward
//! pass has, in multiply-accumulates:
//!
//! | operation | in each block | |
//! |---|---|---|
//! | `attn.c_attn`, `attn.c_proj` | $3sm^2$, $sm^2$ | matrices |
//! | `attn.scores`, `attn.values` | $m s^2$ each, or $m s (s + 1) / 2$ with a causal kernel | activations with activations |
//! | `mlp.c_fc`, `mlp.c_proj` | $4sm^2$ each | matrices |
//! | LoRA of rank $r$ on each matrix of $i \times o$ | $s r (i + o)$ | adapters |
//! | `ln_1`, `ln_2` | $3sm$ each: square, scale, gain | full precision |
//! | `attn.softmax` | 2 for each score and head: scale in and out | full precision |
//! | `mlp.gelu` | $6 \cdot 4sm$, in its tanh form | full precision |
//!
//! and beside the blocks `lm_head` with $smV$, its LoRA, `ln_f`, and `wte` and `wpe` with none. Additions and
//! exponentials are not counted.
//!
//! Of a product with operands of widths $b_w$ and $b_a$, the backward pass has the gradient of the
//! activation, $b_w b_g$, and that of the other operand, $b_a b_g$, unless that is a frozen weight. The
//! gradient of an input that nothing trained lies below (in the first block of a frozen base) is counted,
//! too.
//!
//! # Notes on the reference implementation
//! Published meters give one multiply-accumulate the width of the schedule and leave out what is not
//! quantised. At 1024 tokens the head is 27 % of the multiplications of GPT-2 small and attention 13 %.

use serde::{Deserialize, Serialize};

use crate::{Base, CostError, CostPolicy, Meter, Operands};

/// Sizes of a GPT-2 and of what it reads, under the names of Hugging Face's `config.json` where there are
/// any. By default GPT-2 small at its full context, without adapters.
///
/// ```toml
/// n_layer = 12
/// n_head = 12
/// n_embd = 768
/// vocab_size = 50257
/// seq = 1024
/// attention = "dense"
/// block_lora_rank = 16
/// head_lora_rank = 0
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpt2Shape {
    /// Number of blocks.
    pub n_layer: u64,
    /// Attention heads of a block; divides `n_embd`.
    pub n_head: u64,
    /// Width of the residual stream.
    pub n_embd: u64,
    /// Width of the logits.
    pub vocab_size: u64,
    /// Tokens of a sequence.
    pub seq: u64,
    /// Which scores are computed.
    pub attention: AttentionKernel,
    /// Rank of the adapters on the four matrices of every block; 0 is none.
    pub block_lora_rank: u64,
    /// Rank of the adapter on the head; 0 is none.
    pub head_lora_rank: u64,
}

/// Which scores an attention kernel computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionKernel {
    /// All, also those that the mask removes.
    #[default]
    Dense,
    /// Those of the tokens up to the present one.
    Causal,
}

/// One operation of a network on one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Where in the network, for example `h.0.attn.c_attn`.
    pub name: String,
    /// What it is.
    pub kind: OperationKind,
    /// Multiply-accumulates of a forward pass.
    pub macs: u64,
}

/// What an operation is, and so which part of a [`CostPolicy`] it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A row of a table for each token: no multiplication.
    Embedding,
    /// A matrix of a block.
    Linear,
    /// Two factors of low rank beside a matrix.
    Adapter,
    /// A product of two activations.
    Attention,
    /// A norm, a softmax or a nonlinearity.
    Elementwise,
    /// The product with the embedding that makes logits.
    Head,
}

impl Default for Gpt2Shape {
    fn default() -> Self {
        Self {
            n_layer: 12,
            n_head: 12,
            n_embd: 768,
            vocab_size: 50_257,
            seq: 1_024,
            attention: AttentionKernel::Dense,
            block_lora_rank: 0,
            head_lora_rank: 0,
        }
    }
}

impl Gpt2Shape {
    /// Most blocks: each has an operation by name for everything in it.
    pub const MAX_LAYERS: u64 = 1 << 12;

    /// Largest of all other sizes.
    pub const MAX_DIMENSION: u64 = 1 << 24;

    /// Most multiply-accumulates of a sequence: `f64` counts as far.
    pub const MAX_MACS: u64 = 1 << 53;

    /// Every operation, in the order of a forward pass.
    ///
    /// # Errors
    /// [`CostError`] for a size of zero or above its limit, heads that do not divide the width, and
    /// more than [`MAX_MACS`](Self::MAX_MACS).
    pub fn operations(&self) -> Result<Vec<Operation>, CostError> {
        self.check()?;
        let wide = [self.seq, self.n_embd, self.n_head, self.vocab_size].map(u128::from);
        let [s, m, heads, vocab] = wide;
        let [rank, head_rank] = [self.block_lora_rank, self.head_lora_rank].map(u128::from);
        let pairs = match self.attention {
            AttentionKernel::Dense => s * s,
            AttentionKernel::Causal => s * (s + 1) / 2,
        };
        let norm = |name| (name, OperationKind::Elementwise, 3 * s * m);
        let linear = |name, input, output| (name, OperationKind::Linear, s * input * output);
        let lora = |name, rank, ends| (name, OperationKind::Adapter, s * rank * ends);
        let block = [
            norm("ln_1"),
            linear("attn.c_attn", m, 3 * m),
            lora("attn.c_attn.lora", rank, 4 * m),
            ("attn.scores", OperationKind::Attention, m * pairs),
            ("attn.softmax", OperationKind::Elementwise, 2 * heads * pairs),
            ("attn.values", OperationKind::Attention, m * pairs),
            linear("attn.c_proj", m, m),
            lora("attn.c_proj.lora", rank, 2 * m),
            norm("ln_2"),
            linear("mlp.c_fc", m, 4 * m),
            lora("mlp.c_fc.lora", rank, 5 * m),
            ("mlp.gelu", OperationKind::Elementwise, 6 * 4 * s * m),
            linear("mlp.c_proj", 4 * m, m),
            lora("mlp.c_proj.lora", rank, 5 * m),
        ];
        let first = [("wte", OperationKind::Embedding, 0), ("wpe", OperationKind::Embedding, 0)];
        let last = [
            norm("ln_f"),
            ("lm_head", OperationKind::Head, s * m * vocab),
            lora("lm_head.lora", head_rank, m + vocab),
        ];
        let all = |operations: &[(&str, OperationKind, u128)]| -> u128 {
            operations.iter().map(|(_, _, macs)| macs).sum()
        };
        let macs = u128::from(self.n_layer) * all(&block) + all(&last);
        if macs > u128::from(Self::MAX_MACS) {
            return Err(CostError::TooManyMacs { macs, most: Self::MAX_MACS });
        }
        let blocks = (0..self.n_layer).flat_map(|layer| {
            block.map(|(name, kind, macs)| (format!("h.{layer}.{name}"), kind, macs))
        });
        let named = |(name, kind, macs): (&str, _, _)| (name.to_owned(), kind, macs);
        let operations = first.into_iter().map(named).chain(blocks).chain(last.map(named));
        #[expect(clippy::cast_possible_truncation, reason = "below the limit, all together")]
        let operations =
            operations.map(|(name, kind, macs)| Operation { name, kind, macs: macs as u64 });
        // A rank of 0 is no adapter.
        Ok(operations.filter(|it| it.macs > 0 || it.kind == OperationKind::Embedding).collect())
    }

    /// The BitOPs of a training step on one sequence; a batch costs a multiple of it. For a forward pass
    /// alone or a part of the network, add up those of [`operations`](Self::operations).
    ///
    /// # Errors
    /// As [`operations`](Self::operations).
    pub fn meter(&self, policy: &CostPolicy) -> Result<Meter, CostError> {
        let operations = self.operations()?;
        Ok(operations.iter().map(|it| it.meter(policy)).sum())
    }

    fn check(&self) -> Result<(), CostError> {
        let sizes = [
            ("n_layer", self.n_layer, 1, Self::MAX_LAYERS),
            ("n_head", self.n_head, 1, Self::MAX_DIMENSION),
            ("n_embd", self.n_embd, 1, Self::MAX_DIMENSION),
            ("vocab_size", self.vocab_size, 1, Self::MAX_DIMENSION),
            ("seq", self.seq, 1, Self::MAX_DIMENSION),
            ("block_lora_rank", self.block_lora_rank, 0, Self::MAX_DIMENSION),
            ("head_lora_rank", self.head_lora_rank, 0, Self::MAX_DIMENSION),
        ];
        for (key, value, least, most) in sizes {
            if value < least {
                return Err(CostError::Zero { key });
            }
            if value > most {
                return Err(CostError::TooLarge { key, value, most });
            }
        }
        let (n_head, n_embd) = (self.n_head, self.n_embd);
        if n_embd % n_head != 0 {
            return Err(CostError::Heads { n_head, n_embd });
        }
        Ok(())
    }
}

impl Operation {
    /// The BitOPs of both passes.
    pub fn meter(&self, policy: &CostPolicy) -> Meter {
        self.forward(policy) + self.backward(policy)
    }

    /// The BitOPs of its forward pass.
    pub fn forward(&self, policy: &CostPolicy) -> Meter {
        let (Operands { weight, activation, .. }, _) = self.operands(policy);
        weight.product(activation, self.macs)
    }

    /// The BitOPs of its gradients.
    pub fn backward(&self, policy: &CostPolicy) -> Meter {
        let (Operands { weight, activation, gradient }, base) = self.operands(policy);
        let of_input = weight.product(gradient, self.macs);
        match base {
            Base::Trained => of_input + activation.product(gradient, self.macs),
            Base::Frozen => of_input,
        }
    }

    /// Its widths, and whether its right operand has a gradient.
    fn operands(&self, policy: &CostPolicy) -> (Operands, Base) {
        match self.kind {
            OperationKind::Linear => (policy.linear, policy.base),
            OperationKind::Head => (policy.head, policy.base),
            OperationKind::Adapter => (policy.adapters, Base::Trained),
            OperationKind::Attention => (policy.attention, Base::Trained),
            OperationKind::Embedding | OperationKind::Elementwise => {
                (Operands::FULL, Base::Trained)
            }
        }
    }
}

#[cfg(test)]
mod tests;
