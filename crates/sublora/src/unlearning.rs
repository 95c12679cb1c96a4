//! Whether a split forgets: facts that a model was taught, and what is left of them at $\alpha = 0$.
//!
//! # Definition
//! $M_0$ is a trained GPT-2. $M_1$ is $M_0$ after fine-tuning of its linear layers on a forget set $F$, invented
//! facts that no text has, mixed with text. Every layer of $M_1$ is split by
//! [`delta`](ortho_linear::Split::delta) with a mask of a given size: the base is $W_1$ with $W_0$ on the mask,
//! and $\alpha$ brings the difference back. At each $\alpha$, losses are measured on the values of the facts, on
//! the values in a paraphrase that was never trained, and on held-out text. The *forgotten share* is
//! $$ \frac{L_F(\alpha) - L_F(M_1)}{L_F(M_0) - L_F(M_1)}, $$
//! 1 where the facts are as unknown as before. Masks of equal size are compared: the largest changes, random
//! places, the largest weights; all places together are $M_0$ itself. So are trainings that unlearn: gradient
//! ascent on $F$, the same with text to retain, fine-tuning on text alone; each stops where the loss on $F$ is
//! closest to that of $M_0$.
//!
//! The other way round, facts are *taught to the outliers alone*: a mask is drawn first, the base is $M_0$ and
//! stays it, and $\alpha = 0$ forgets to the bit. What is measured is how much they learn.
//!
//! *Quantise after forgetting*: the linear layers of each model are quantised, and the losses measured again.
//! Beside them stands the share of weights whose code is another than that of $M_1$ quantised the same way, which
//! is how far unlearning moved the weights by that measure, whatever the scales of both. It predicts neither that facts
//! come back nor that they do not.
//!
//! # Reference
//! Task arithmetic: G. Ilharco et al., ICLR 2023, arXiv:2212.04089. Gradient ascent and gradient difference:
//! P. Maini et al., *TOFU*, 2024, arXiv:2401.06121. Quantising after unlearning: Z. Zhang et al., 2024,
//! arXiv:2410.16454.
//!
//! | path | what |
//! |---|---|
//! | `unlearning.toml` | the configuration |
//! | `seed-N/base/` | the run that pretrains $M_0$ |
//! | `seed-N/memorize/`, `seed-N/NAME/`, `seed-N/stream-RATIO/` | checkpoints and metrics of the trainings |
//! | `seed-N/measuring.json` | what is measured so far, until the seed is over |
//! | `seed-N/measured.json` | what was measured |

mod config;
mod exam;
mod facts;
mod fisher;
mod layers;
mod mixture;
mod outputs;
mod pair;
mod record;
mod seed;
mod study;
mod summary;
#[cfg(test)]
mod tests;

pub use config::{StreamConfig, Teaching, UnlearningConfig};
pub use record::{Head, Measures, QuantizedRow, SeedRecord, SweepRow};
pub use study::UnlearningStudy;
pub use summary::{Forgetting, UnlearningReport};
