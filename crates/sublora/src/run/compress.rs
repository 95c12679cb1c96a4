//! From the best coordinates to `model.sublora`.

use std::num::NonZeroU8;
use std::path::Path;

use adapters::LoraGpt2;
use corpus::Sha256Hash;
use quantizers::CodedVector;

use super::prepare::{Part, Prepared};
use super::{Run, TRAIN};
use crate::artifact::{Artifact, CodeLength};
use crate::atomic::FileError;
use crate::compression::Compression;
use crate::config::TrainConfig;
use crate::schedule::LearningRate;
use crate::spec::Spec;
use crate::subspace::Subspace;
use crate::train::{CrossEntropy, InSubspace, Point, Trainer};
use crate::{Error, atomic};

impl Run<'_> {
    /// Quantises and codes the best coordinates, after quantisation-aware training if the
    /// configuration asks for it, and writes `model.sublora`. With `resume`, that training goes on
    /// where an earlier call stopped, if it began from the same coordinates and levels.
    ///
    /// # Errors
    /// [`Error::Unfinished`] or [`Error::Untrained`] for a run whose training has not ended, one
    /// without a subspace or on another corpus, or what failed.
    pub fn compress(&self, resume: bool) -> Result<Artifact, Error> {
        if self.config.sublora.is_none() {
            let reason =
                "only coordinates of a subspace are coded; this run has no `[sublora]` table";
            return Err(Error::Config(reason.to_owned()));
        }
        let (folder, steps) = (self.folder.clone(), self.config.train.steps);
        match Trainer::steps_taken(&self.folder.join(TRAIN))? {
            None => return Err(Error::Unfinished { folder, what: "trained model" }),
            Some(step) if step < steps => return Err(Error::Untrained { folder, step, steps }),
            Some(_) => {}
        }
        self.provenance().check(&self.folder)?;
        let Prepared { spec, model, layout } = self.prepare()?;
        let trainer = self.trainer(&spec, &self.config.train, TRAIN)?;
        let Some(allocated) = spec.allocated(&layout)? else {
            return Err(Error::Mismatch("this run has no subspace".to_owned()));
        };
        let subspace = Subspace::new(&model, layout, allocated)?;
        let mut trained = InSubspace::new(subspace, &self.config.train, &self.device);
        let mut model = trainer.restore_best(model, &mut trained)?;
        let before = self.probe(&trainer, &model)?;
        let Point { alpha, mut logits } = trained.point()?;
        let compress = &self.config.compress;
        let levels = NonZeroU8::new(compress.levels).unwrap_or(NonZeroU8::MIN);
        let mut payload = quantizers::quantize(compress.codebook.as_dyn(), &alpha, levels)?;
        let subspace = if compress.qat_steps > 0 {
            let start = (&spec, Point { alpha, logits }, &payload);
            let subspace = trained.into_subspace();
            let (moved, point, parameters) =
                self.through_quantiser(model, subspace, start, resume)?;
            (model, logits) = (moved, point.logits);
            let centroids = parameters.centroids()?.unwrap_or_default();
            let centroids: Vec<f64> = centroids.into_iter().map(f64::from).collect();
            payload = CodedVector::nearest(&point.alpha, &centroids)?;
            parameters.into_subspace()
        } else {
            trained.into_subspace()
        };
        let allocated = subspace.allocated();
        let allocation: Vec<u64> = allocated.choices(&logits).iter().map(|it| it.value).collect();
        let gates = allocated.decode(&allocation)?;
        let decoded = subspace.place(model, &payload.dequantize(), &gates);
        let after = self.probe(&trainer, &decoded)?;
        let artifact = Artifact { spec, payload, allocation };
        let bits = CodeLength::of(&artifact, self.config.certify.configurations)?;
        let compression = Compression::new(allocated, &gates, bits, [before, after]);
        // The artifact last: with it, both are there.
        compression.write(&self.folder)?;
        artifact.write(&self.artifact_path())?;
        Ok(artifact)
    }

    /// Mean loss of `model` on the held-out windows of the training loop, in bits per token; on training
    /// windows where nothing is held out.
    fn probe(&self, trainer: &Trainer<'_>, model: &LoraGpt2) -> Result<f64, Error> {
        let data = self.data(trainer.config, Part::Certified)?;
        let windows = data.held_out.as_ref().unwrap_or(&data.train);
        Ok(trainer.evaluate(model, &CrossEntropy, windows)?.loss / std::f64::consts::LN_2)
    }

    /// Quantisation-aware training from a point and the levels of its quantised form.
    fn through_quantiser(
        &self,
        model: LoraGpt2,
        subspace: Subspace,
        (spec, point, payload): (&Spec, Point, &CodedVector),
        resume: bool,
    ) -> Result<(LoraGpt2, Point, InSubspace), Error> {
        let compress = &self.config.compress;
        let config = TrainConfig {
            steps: compress.qat_steps,
            learning_rate: LearningRate::constant(compress.qat_learning_rate),
            gate_rate: compress.qat_gate_rate,
            ..self.config.train.clone()
        };
        let centroids: Vec<f32> =
            payload.codebook().centroids().iter().map(|it| it.to_f32()).collect();
        let trainer = self.trainer(spec, &config, "qat")?;
        begin_from(&trainer.folder, &start_hash(&point, &centroids, &config)?)?;
        let mut parameters =
            InSubspace::through_quantiser(subspace, &point, &centroids, &config, &self.device);
        let model = parameters.place(model)?;
        let data = self.data(&config, Part::Certified)?;
        let task = "quantisation-aware training";
        let (model, _) = trainer.run(task, model, &CrossEntropy, &mut parameters, &data, resume)?;
        let point = parameters.point()?;
        Ok((model, point, parameters))
    }
}

/// What quantisation-aware training is a function of, besides the text and the seed of the run.
fn start_hash(point: &Point, centroids: &[f32], config: &TrainConfig) -> Result<Sha256Hash, Error> {
    let config = serde_json::to_vec(config).map_err(|error| Error::config(&error))?;
    let mut parts = vec![b"sublora qat 2".to_vec()];
    for values in [&point.alpha[..], &point.logits, centroids] {
        parts.push((values.len() as u64).to_le_bytes().to_vec());
        parts.push(values.iter().flat_map(|it| it.to_le_bytes()).collect());
    }
    parts.push(config);
    Ok(Sha256Hash::of(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// Empties `folder` unless what is in it began from `start`.
fn begin_from(folder: &Path, start: &Sha256Hash) -> Result<(), Error> {
    let (path, start) = (folder.join("start.sha256"), format!("{start}\n"));
    if std::fs::read(&path).is_ok_and(|found| found == start.as_bytes()) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(FileError::at("remove", folder))?;
    }
    std::fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
    Ok(atomic::write(&path, start.as_bytes())?)
}
