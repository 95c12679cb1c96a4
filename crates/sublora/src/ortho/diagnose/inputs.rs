//! The inputs that the linear layers of a GPT-2 have while it reads a text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData};
use corpus::{Corpus, Sha256Hash, Split, WindowIndex, WindowSampler};
use gpt2_model::{DeviceError, Gpt2Config, LinearLayer, host};
use serde::{Deserialize, Serialize};

use super::{DiagnoseError, OrthoDiagnosis};
use crate::vocabulary::check_vocabulary;
use crate::{Error, Progress};

/// A text, and where the model reads it.
pub struct Text<'a> {
    /// Its held-out documents are read if they are long enough for a window, and else those to train on. What a
    /// selection chooses by, Fisher information or the Hessian, is always of those to train on.
    pub corpus: &'a Corpus,
    /// Where to compute.
    pub device: Device,
}

/// What the inputs are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenInputs {
    /// Hash of the corpus.
    pub corpus: Sha256Hash,
    /// Whether the documents are held out.
    pub held_out: bool,
    /// Windows that were read.
    pub windows: usize,
    /// Tokens of a window; each is an input of every layer.
    pub window: usize,
}

/// Inputs by the name of their layer, such as `h.0.attn.c_attn`, `[tokens, d_in]` each.
pub(super) struct Inputs {
    pub(super) seen: SeenInputs,
    pub(super) by_layer: BTreeMap<String, Vec<f32>>,
}

/// What is read of a text.
pub(super) struct Windows<'a> {
    pub(super) sampler: WindowSampler<'a>,
    held_out: bool,
}

impl<'a> Windows<'a> {
    /// As long as the settings say and the model can read: of the documents to train on if a `split` is chosen by
    /// them, and else of those held out, if they are long enough.
    ///
    /// # Errors
    /// Tokens that the model in `folder` does not know, or too little text.
    pub(super) fn new(
        settings: &OrthoDiagnosis,
        text: &Text<'a>,
        folder: &Path,
        shape: &Gpt2Config,
        choose: bool,
    ) -> Result<Self, Error> {
        check_vocabulary(folder, shape, text.corpus)?;
        let window = settings.window.min(shape.n_positions);
        let held_out = !choose && text.corpus.split(Split::Val).len() >= window as u64;
        let split = if held_out { Split::Val } else { Split::Train };
        let sampler = WindowSampler::new(text.corpus.split(split), window, settings.seed)?;
        Ok(Self { sampler, held_out })
    }

    /// Tokens of each.
    pub(super) fn length(&self) -> usize {
        self.sampler.length()
    }

    pub(super) fn index(row: u64) -> WindowIndex {
        WindowIndex { step: 0, micro_batch: 0, row }
    }
}

/// What a layer was given, one call after the other; clones share it.
#[derive(Clone)]
struct Seen(Arc<Mutex<Result<Vec<f32>, DeviceError>>>);

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Result<Vec<f32>, DeviceError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, data: Result<TensorData, DeviceError>) {
        let mut seen = self.lock();
        match (&mut *seen, data) {
            (Ok(values), Ok(data)) => values.extend(data.iter::<f32>()),
            (Ok(_), Err(error)) => *seen = Err(error),
            (Err(_), _) => {}
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inputs")
    }
}

/// A [`Linear`] whose inputs are kept on the host.
#[derive(Module, Debug)]
struct Watched {
    layer: Linear,
    #[module(skip)]
    seen: Seen,
}

impl LinearLayer for Watched {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.seen.push(host(x.clone()));
        LinearLayer::forward(&self.layer, x)
    }
}

impl OrthoDiagnosis {
    /// The inputs of every linear layer of the GPT-2 in `folder` on windows of `text`: those that a split is
    /// chosen by, or those that it is judged on.
    ///
    /// The model is held whole, and the inputs of all its layers, which are fewer than its weights for as many
    /// tokens as it is wide.
    pub(super) fn inputs(
        &self,
        folder: &Path,
        text: &Text<'_>,
        choose: bool,
        progress: &dyn Progress,
    ) -> Result<Inputs, DiagnoseError> {
        let (model, shape) = gpt2_model::load(folder, &text.device).map_err(Error::from)?;
        let windows = Windows::new(self, text, folder, &shape, choose)?;
        let mut watched = BTreeMap::new();
        let watch = |name: &str, layer| {
            let seen = Seen(Arc::new(Mutex::new(Ok(Vec::new()))));
            watched.insert(name.to_owned(), seen.clone());
            Ok::<_, DiagnoseError>(Watched { layer, seen })
        };
        let model = model.map_layers(watch, |_, norm| Ok(norm))?;

        let window = windows.length();
        progress.begin("read", "windows", self.windows as u64);
        let mut tokens = vec![0; window];
        for row in 0..self.windows as u64 {
            if progress.update(row, "").is_break() {
                return Err(DiagnoseError::Interrupted);
            }
            windows.sampler.fill(Windows::index(row), &mut tokens);
            let x: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
            let x = TensorData::new(x, [1, window]);
            drop(model.hidden(Tensor::<2, Int>::from_data(x, &text.device)));
        }
        progress.end();
        let (corpus, held_out) = (text.corpus.sha256(), windows.held_out);
        let seen = SeenInputs { corpus, held_out, windows: self.windows, window };
        let taken = |(name, seen): (String, Seen)| {
            let values = std::mem::replace(&mut *seen.lock(), Ok(Vec::new()));
            Ok((name, values.map_err(Error::from)?))
        };
        let by_layer = watched.into_iter().map(taken).collect::<Result<_, DiagnoseError>>()?;
        Ok(Inputs { seen, by_layer })
    }
}

#[cfg(test)]
mod tests {
    use gpt2_model::{NormLayer, PlainGpt2};

    use super::*;
    use crate::fixture;

    /// The first layer reads the normed embeddings, the last of an MLP what the activation leaves.
    #[test]
    fn inputs_are_what_the_layers_were_given() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = fixture::corpus(&folder.path().join("corpus"), &fixture::prose(8, 40), 0.5);
        let shape = Gpt2Config {
            vocab_size: 257,
            n_positions: 16,
            n_embd: 8,
            n_layer: 2,
            n_head: 2,
            ..Gpt2Config::default()
        };
        let device = Device::default();
        let key = counter_rng::Key::from_seed(3);
        let model = PlainGpt2::random(&shape, key, &device).unwrap();
        let path = folder.path().join("model");
        gpt2_model::save(&model, &shape, &path).unwrap();
        let settings = OrthoDiagnosis { windows: 3, window: 12, ..OrthoDiagnosis::default() };
        let text = Text { corpus: &corpus, device: device.clone() };
        let found = settings.inputs(&path, &text, false, &()).unwrap();
        let SeenInputs { held_out, windows, window, .. } = found.seen;
        assert_eq!((held_out, windows, window), (true, 3, 12));
        assert_eq!(found.by_layer.len(), 2 * 4);

        let sampler = WindowSampler::new(corpus.split(Split::Val), 12, settings.seed).unwrap();
        let mut tokens = [0; 12];
        sampler.fill(WindowIndex { step: 0, micro_batch: 0, row: 1 }, &mut tokens);
        let x = Tensor::<2, Int>::from_data(
            TensorData::new(tokens.map(i64::from).to_vec(), [1, 12]),
            &device,
        );
        let positions = Tensor::arange(0..12, &device).unsqueeze();
        let x = model.wte.forward(x) + model.wpe.forward(positions);
        let normed = NormLayer::forward(&model.h[0].ln_1, x.clone());
        let second = |name: &str, d_in: usize| found.by_layer[name][12 * d_in..24 * d_in].to_vec();
        let values = |x: Tensor<3>| x.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(second("h.0.attn.c_attn", 8), values(normed.clone()));
        // One window, two layers on.
        let mask = Tensor::<2>::full([12, 12], f32::NEG_INFINITY, &device).triu(1).unsqueeze();
        let x = x + model.h[0].attn.forward(normed, &mask);
        let mlp = &model.h[0].mlp;
        let up = LinearLayer::forward(&mlp.c_fc, NormLayer::forward(&model.h[0].ln_2, x));
        assert_eq!(second("h.0.mlp.c_proj", 32), values(mlp.activation.forward(up)));
        assert!(found.by_layer.iter().all(|(_, it)| it.len() % (3 * 12 * 8) == 0));

        // Without held-out documents those to train on are read; a corpus of more tokens is refused.
        let corpus = fixture::corpus(&folder.path().join("all"), &fixture::prose(8, 40), 0.0);
        let text = Text { corpus: &corpus, device: device.clone() };
        assert!(!settings.inputs(&path, &text, false, &()).unwrap().seen.held_out);
        let small = Gpt2Config { vocab_size: 256, ..shape };
        let path = folder.path().join("small");
        let model = PlainGpt2::random(&small, key, &device).unwrap();
        gpt2_model::save(&model, &small, &path).unwrap();
        let error = settings.inputs(&path, &text, false, &()).err().unwrap().to_string();
        assert!(error.ends_with("knows 256 tokens, the corpus 257"), "{error}");
        let long = OrthoDiagnosis { window: 1 << 20, ..settings };
        assert!(long.inputs(&folder.path().join("model"), &text, false, &()).is_ok()); // cut to the context
    }
}
