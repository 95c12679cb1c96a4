//! What selections choose by: how the linear layers of a GPT-2 respond to a text.

use std::collections::BTreeMap;
use std::path::Path;

use gpt2_model::cross_entropy;
use ortho_linear::AnySelection;

use super::inputs::Windows;
use super::{DiagnoseError, OrthoDiagnosis, Text};
use crate::spec::arrange;
use crate::train::Batch;
use crate::{Error, Progress, fisher};

/// By layer; of what the selection asks for.
#[derive(Default)]
pub(super) struct ChosenBy {
    /// $2 \sum_t x_{ti}^2$, `[d_in]`.
    pub(super) hessian: BTreeMap<String, Vec<f32>>,
    /// `[d_in, d_out]`.
    pub(super) fisher: BTreeMap<String, Vec<f32>>,
}

impl OrthoDiagnosis {
    /// Measures it on the documents to train on, so that held-out text can judge what was chosen.
    pub(super) fn chosen_by(
        &self,
        folder: &Path,
        text: &Text<'_>,
        progress: &dyn Progress,
    ) -> Result<ChosenBy, DiagnoseError> {
        let mut found = ChosenBy::default();
        match self.split.selection {
            Some(AnySelection::Fisher(_)) => found.fisher = self.fisher(folder, text, progress)?,
            Some(AnySelection::Hessian(_)) => {
                let inputs = self.inputs(folder, text, true, progress)?;
                let (values, tokens) = (inputs.by_layer, inputs.seen.windows * inputs.seen.window);
                let of_layer =
                    |(name, x): (String, Vec<f32>)| (name, hessian(&x, x.len() / tokens));
                found.hessian = values.into_iter().map(of_layer).collect();
            }
            _ => {}
        }
        Ok(found)
    }

    /// Of the loss on each of the windows of `text`, a sample each, by layer. The model is held whole with
    /// gradients, and three numbers for each of its weights.
    fn fisher(
        &self,
        folder: &Path,
        text: &Text<'_>,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Vec<f32>>, DiagnoseError> {
        let device = text.device.clone().autodiff();
        let (model, shape) = gpt2_model::load(folder, &device).map_err(Error::from)?;
        let windows = Windows::new(self, text, folder, &shape, true)?;
        if windows.length() < 2 {
            let (value, expected) = (windows.length().to_string(), "2 or more to predict a token");
            return Err(DiagnoseError::Setting { name: "window", value, expected });
        }
        let layout = fisher::linear_layers(&model)?;
        let model = arrange(model, &layout);
        progress.begin("differentiate", "windows", self.windows as u64);
        let losses = (0..self.windows as u64).map(|row| {
            if progress.update(row, "").is_break() {
                return Err(Error::Interrupted);
            }
            let batch = Batch::of(&windows.sampler, Windows::index(row), 1, &device);
            Ok(cross_entropy(&batch.factors(&model), &batch.targets))
        });
        let found = fisher::information(&model, &layout, losses).map_err(|error| match error {
            Error::Interrupted => DiagnoseError::Interrupted,
            error => error.into(),
        })?;
        progress.end();
        #[expect(clippy::cast_possible_truncation, reason = "a score")]
        let of_layer = |range: std::ops::Range<usize>| found[range].iter().map(|&it| it as f32);
        let tensors = layout.tensors().iter();
        let name = |name: &str| name.trim_end_matches(".weight").to_owned();
        Ok(tensors.map(|it| (name(it.name()), of_layer(it.range()).collect())).collect())
    }
}

/// $2 \sum_t x_{ti}^2$ of inputs `[tokens, d_in]`.
#[expect(clippy::cast_possible_truncation, reason = "scores need no more")]
fn hessian(inputs: &[f32], d_in: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; d_in];
    for token in inputs.chunks_exact(d_in) {
        for (sum, &x) in sums.iter_mut().zip(token) {
            *sum += 2.0 * f64::from(x).powi(2);
        }
    }
    sums.into_iter().map(|it| it as f32).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use counter_rng::Key;
    use gpt2_model::{Gpt2Config, PlainGpt2, assign};

    use super::*;
    use crate::fixture;

    /// One window: the square of a gradient, which is a difference of losses. Two: the mean of both squares.
    #[test]
    fn information_is_the_mean_of_squared_gradients() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = fixture::corpus(&folder.path().join("corpus"), &fixture::prose(8, 40), 0.5);
        let shape = Gpt2Config {
            vocab_size: 257,
            n_positions: 16,
            n_embd: 8,
            n_layer: 1,
            n_head: 2,
            ..Gpt2Config::default()
        };
        let device = Device::default();
        let model = PlainGpt2::random(&shape, Key::from_seed(3), &device).unwrap();
        // Large weights have gradients that a difference in single precision can tell.
        let model = assign(model, |_, shape| {
            let mut values = vec![0.0; shape.iter().product()];
            Key::from_seed(shape.len() as u64).fill_normal(0, &mut values);
            Some(values)
        });
        let path = folder.path().join("model");
        gpt2_model::save(&model, &shape, &path).unwrap();
        let text = Text { corpus: &corpus, device: device.clone() };
        let mut settings = OrthoDiagnosis { windows: 2, window: 12, ..OrthoDiagnosis::default() };
        let found = settings.fisher(&path, &text, &()).unwrap();
        assert_eq!(found.len(), 4);

        let windows = Windows::new(&settings, &text, &path, &shape, true).unwrap();
        let loss = |model: &PlainGpt2, row| -> f64 {
            let batch = Batch::of(&windows.sampler, Windows::index(row), 1, &device);
            cross_entropy(&batch.factors(model), &batch.targets).into_scalar::<f64>()
        };
        let (layer, width, step) = ("h.0.mlp.c_fc", 32, 2e-3_f32);
        assert_eq!(found[layer].len(), 8 * width);
        for place in [0, width + 3, 7 * width + 30] {
            let moved = |by: f32| {
                let mut values = gpt2_model::read(&model, |name| name == format!("{layer}.weight"));
                let (name, data) = values.as_mut().unwrap().remove(0);
                let mut weights: Vec<f32> = data.iter::<f32>().collect();
                weights[place] += by;
                assign(model.clone(), |it, _| (it == name).then(|| weights.clone()))
            };
            let [after, before] = [moved(step), moved(-step)];
            let square = |row| {
                let gradient = (loss(&after, row) - loss(&before, row)) / (2.0 * f64::from(step));
                gradient.powi(2)
            };
            let (expected, found) =
                (f64::midpoint(square(0), square(1)), f64::from(found[layer][place]));
            assert!((found - expected).abs() < 0.05 * expected + 1e-5, "{found} {expected}");
        }
        let small = Gpt2Config { vocab_size: 256, ..shape };
        let other = folder.path().join("small");
        let model = PlainGpt2::random(&small, Key::from_seed(3), &device).unwrap();
        gpt2_model::save(&model, &small, &other).unwrap();
        let error = settings.fisher(&other, &text, &()).unwrap_err().to_string();
        assert!(error.ends_with("knows 256 tokens, the corpus 257"), "{error}");
        settings.window = 1;
        let error = settings.fisher(&path, &text, &()).unwrap_err().to_string();
        assert_eq!(error, "`window` is 1, expected 2 or more to predict a token");
    }
}
