//! Scales from the text that a model will be trained on.

use adapters::{Precision, QuantizedLayer, QuantizedNorm};
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use gpt2_model::Gpt2;
use quantizers::BitWidth;

use super::config::{QatConfig, Upstream};
use crate::Error;

/// Calibrates the widths of `config` on `batches`, each `[batch, seq]`, with adapters off; leaves the
/// model at 32 bits with adapters on.
///
/// # Errors
/// What a quantiser cannot be calibrated with. With `full-precision` upstream none is then changed.
pub(super) fn calibrate<L: QuantizedLayer, N: QuantizedNorm>(
    model: &Gpt2<L, N>,
    config: &QatConfig,
    batches: &[Tensor<2, Int>],
) -> Result<(), Error> {
    let model = model.valid(); // shares its quantisers, and has no graph
    model.enable_adapters(false);
    model.set_precision(BitWidth::FULL, BitWidth::FULL)?;
    let done = match config.calibration.upstream {
        Upstream::FullPrecision => {
            model.start_calibration(&config.widths, &config.input_widths());
            pass(&model, config, batches);
            model.finish_calibration().map_err(Error::from)
        }
        Upstream::OwnWidth => layer_by_layer(&model, config, batches),
    };
    model.enable_adapters(true);
    done
}

fn pass<L: QuantizedLayer, N: QuantizedNorm>(
    model: &Gpt2<L, N>,
    config: &QatConfig,
    batches: &[Tensor<2, Int>],
) {
    for tokens in batches {
        // The head is watched only if it is quantised; its logits are large.
        if config.quantize.head {
            drop(model.logits(tokens.clone()));
        } else {
            drop(model.hidden(tokens.clone()));
        }
    }
}

/// Weights first; then, for each width, the input of each layer behind those already at that width.
fn layer_by_layer<L: QuantizedLayer, N: QuantizedNorm>(
    model: &Gpt2<L, N>,
    config: &QatConfig,
    batches: &[Tensor<2, Int>],
) -> Result<(), Error> {
    let (weights, inputs) = (model.weights(), model.inputs());
    for (weight, input) in weights.iter().zip(&inputs) {
        weight.start_calibration(&config.widths);
        input.start_calibration(&[]);
    }
    pass(model, config, &batches[..1]);
    model.finish_calibration()?;
    for &bits in &config.widths {
        model.set_precision(BitWidth::FULL, BitWidth::FULL)?;
        for (weight, input) in weights.iter().zip(&inputs) {
            if !input.is_dynamic(bits) {
                input.start_calibration(&[bits]);
                pass(model, config, batches);
                input.finish_calibration()?;
            }
            weight.set_bits(bits)?;
            input.set_bits(bits)?;
        }
    }
    Ok(model.set_precision(BitWidth::FULL, BitWidth::FULL)?)
}
