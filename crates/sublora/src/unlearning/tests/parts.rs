//! Facts, losses on them, splits and codes.

use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor, TensorData};
use corpus::{Split, WindowIndex, WindowSampler};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2, cross_entropy, logits};
use ortho_linear::{Alpha, AnyBase, AnySelection, Construction, MemoryDelta, SplitConfig};

use super::super::exam::{Exam, Purpose, checkpoint_windows, value_nats};
use super::super::facts::{Facts, Sentence};
use super::super::layers::{Quantized, Splits, stored, values, with_values};
use super::*;
use crate::fisher::linear_layers;
use crate::spec::arrange;
use crate::subspace::flat_gradient;
use crate::train::Batch;

fn model(seed: u64) -> PlainGpt2 {
    let config = Gpt2Config {
        vocab_size: 257,
        n_positions: 48,
        n_embd: 16,
        n_layer: 1,
        n_head: 2,
        ..Gpt2Config::default()
    };
    PlainGpt2::random(&config, Key::from_seed(seed), &Device::default()).unwrap()
}

#[test]
fn facts_end_in_their_values_and_follow_from_their_key() {
    let tokenizer = bytes();
    let facts = |seed| Facts::new(6, tokenizer.as_ref(), 48, Key::from_seed(seed)).unwrap();
    let (first, again, other) = (facts(1), facts(1), facts(2));
    assert_eq!(first.statements, again.statements);
    assert_ne!(first.statements, other.statements);
    let text = |it: &Sentence, range: std::ops::Range<usize>| -> String {
        it.tokens[range].iter().map(|&it| char::from(u8::try_from(it).unwrap())).collect()
    };
    for (statement, paraphrase) in first.statements.iter().zip(&first.paraphrases) {
        for it in [statement, paraphrase] {
            assert_eq!(
                (it.tokens[0], text(it, it.value.end..it.tokens.len())),
                (256, ".".to_owned())
            );
        }
        let [value, same] = [statement, paraphrase].map(|it| text(it, it.value.clone()));
        assert_eq!(value, same);
        // A space and four syllables; the space is part of the value.
        assert!(value.len() == 9 && value.starts_with(' '), "{value}");
    }
    let statement = &first.statements[2];
    assert!(text(statement, 1..statement.value.start).starts_with("The password of "));
    let error = Facts::new(6, tokenizer.as_ref(), 12, Key::from_seed(1)).unwrap_err().to_string();
    assert!(error.starts_with("`model.n_positions` is 12, expected at least "), "{error}");
}

/// Padded and in batches, sentences have the losses that they have alone.
#[test]
fn losses_of_values_are_those_of_a_softmax() {
    let (model, tokenizer) = (model(1), bytes());
    let facts = Facts::new(70, tokenizer.as_ref(), 48, Key::from_seed(1)).unwrap();
    let known = value_nats(&model, &facts.statements).unwrap();
    let (mut nats, mut count, mut recalled) = (0.0, 0, 0);
    for it in &facts.statements {
        let x: Vec<i64> = it.tokens.iter().map(|&it| it.into()).collect();
        let x = Tensor::<2, Int>::from_data(
            TensorData::new(x, [1, it.tokens.len()]),
            &Device::default(),
        );
        let hidden = model.hidden(x).squeeze_dim::<2>(0);
        let z: Vec<f64> = logits(&model.head_factors(hidden)).into_data().iter::<f64>().collect();
        let mut all = true;
        for place in it.value.clone() {
            let z = &z[(place - 1) * 257..place * 257];
            let target = z[it.tokens[place] as usize];
            let sum: f64 = z.iter().map(|it| it.exp()).sum();
            nats += sum.ln() - target;
            count += 1;
            all &= z.iter().all(|&it| it <= target);
        }
        recalled += usize::from(all);
    }
    let expected = nats / f64::from(count);
    assert!((known.nats - expected).abs() < 1e-4, "{} {expected}", known.nats);
    assert!((known.recall - recalled as f64 / 70.0).abs() < 1e-12);
}

#[test]
fn no_document_of_the_exam_chooses_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (corpus, tokenizer) = (text(dir.path()), bytes());
    let file = corpus.split(Split::Val);
    let documents = file.documents().len();
    let tokens_of = |numbers: &[u64]| -> Vec<u32> {
        let ranges = numbers.iter().map(|&it| file.documents().get(it).unwrap().tokens);
        // With its separator.
        ranges.flat_map(|it| file.tokens(it.start..it.end + 1)).collect()
    };
    let odd: Vec<u64> = (0..documents).filter(|it| it % 2 == 1).collect();
    let (chosen_on, whole) = (tokens_of(&odd), tokens_of(&(0..documents).collect::<Vec<_>>()));
    let windows = checkpoint_windows(&corpus, 24, 1).unwrap();
    let mut window = [0; 24];
    for step in 0..50 {
        windows.fill(WindowIndex { step, micro_batch: 0, row: 0 }, &mut window);
        assert!(chosen_on.windows(24).any(|it| it == window), "{step}");
    }
    assert!(whole.windows(24).any(|it| !chosen_on.windows(24).any(|other| other == it)));
    let length = |&it: &u64| file.documents().get(it).unwrap().tokens.count() as u64;
    let error = checkpoint_windows(&corpus, 1 << 20, 1).err().unwrap().to_string();
    assert!(error.starts_with("every other held-out document, on which the best step"), "{error}");

    let facts = Facts::new(4, tokenizer.as_ref(), 48, Key::from_seed(1)).unwrap();
    let exam = Purpose::Exam.documents(file);
    assert!(exam.iter().all(|it| it % 2 == 0) && (exam.len() + odd.len()) as u64 == documents);
    let available: u64 = exam.iter().map(length).sum();
    for (tokens, seed) in [(1, 1), (100, 1), (100, 2), (available / 2, 3), (available, 4)] {
        let found = Exam::new(&facts, &corpus, tokens, 24, seed).unwrap().retain_tokens();
        assert!(tokens <= found && found <= 2 * tokens + 48, "{tokens} {found}");
    }
    let error = Exam::new(&facts, &corpus, available + 1, 24, 1).err().unwrap().to_string();
    let expected = format!(
        "`retain_tokens` is {}, expected at most {available}, the tokens of half of the held-out documents",
        available + 1
    );
    assert_eq!(error, expected);
}

fn change(ratio: f64) -> SplitConfig {
    let selection = AnySelection::from(MemoryDelta { ratio, ..MemoryDelta::default() });
    SplitConfig {
        construction: Construction::Delta,
        selection: Some(selection),
        ..SplitConfig::default()
    }
}

#[test]
fn a_split_goes_from_what_was_taught_to_what_was_before() {
    let rule = SplitConfig::default();
    let [before, after] = [1, 2].map(|seed| stored(&model(seed), &rule).unwrap());
    assert_eq!(before.len(), 4, "c_attn, c_proj, c_fc, c_proj");
    let all = Splits::new(&before, &after, None, |_| change(1.0)).unwrap();
    assert_eq!(all.at(Alpha::STORED), values(&after));
    assert_eq!(all.at(Alpha::BASE), values(&before));
    assert!((all.captured - 1.0).abs() < 1e-9);
    // 48 + 16 + 64 + 64 channels of 16, 16, 16 and 64 inputs, 6 bytes each, and pointers.
    let numbers = 48 * 16 + 16 * 16 + 64 * 16 + 16 * 64;
    assert_eq!(all.outlier_bytes(), 6 * numbers + 4 * (49 + 17 + 65 + 17));

    let some = Splits::new(&before, &after, None, |_| change(0.25)).unwrap();
    let expected: f64 = {
        let (mut inside, mut whole) = (0.0, 0.0);
        for (before, after) in values(&before).into_iter().zip(values(&after)) {
            let mut squares: Vec<f64> =
                after.iter().zip(&before).map(|(a, b)| f64::from(a - b).powi(2)).collect();
            squares.sort_by(|a, b| b.total_cmp(a));
            whole += squares.iter().sum::<f64>();
            inside += squares[..squares.len() / 4].iter().sum::<f64>();
        }
        inside / whole
    };
    assert!((some.captured - expected).abs() < 1e-6, "{} {expected}", some.captured);
    let base = some.base(&after, &rule).unwrap();
    assert_eq!(values(&base), some.at(Alpha::BASE));
}

#[test]
fn weights_are_put_where_they_were_read() {
    let rule = SplitConfig::default();
    let [first, second] = [1, 2].map(|seed| stored(&model(seed), &rule).unwrap());
    let moved = with_values(&model(1), &first, values(&second));
    assert_eq!(values(&stored(&moved, &rule).unwrap()), values(&second));
    let kept = gpt2_model::read(&moved, |name| name == "wte.weight").unwrap();
    assert_eq!(kept, gpt2_model::read(&model(1), |name| name == "wte.weight").unwrap());
}

#[test]
fn what_keeps_its_code_has_not_moved() {
    let rule = SplitConfig::default();
    let layers = stored(&model(1), &rule).unwrap();
    let nudged = |factor: f32| {
        let nudge = |it: Vec<f32>| -> Vec<f32> {
            let most = it.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
            // The largest of a channel stays, so that its scale does.
            it.iter().map(|w| if w.abs() < 0.2 * most { w + factor * most } else { *w }).collect()
        };
        let values = values(&layers).into_iter().map(nudge).collect();
        stored(&with_values(&model(1), &layers, values), &rule).unwrap()
    };
    let moved = |kind: AnyBase, factor| {
        let quantized = |layers: &[_]| Quantized::new(layers, kind.as_dyn()).unwrap();
        quantized(&nudged(factor)).moved(&quantized(&layers)).unwrap()
    };
    let int4 = || AnyBase::from(ortho_linear::Int4::default());
    let int8 = || AnyBase::from(ortho_linear::Int8::default());
    assert_eq!(moved(int4(), 0.0), 0.0);
    assert_eq!(moved(AnyBase::default(), 0.0), 0.0);
    // About half of all weights are nudged, by 2 % of the largest: some in ten over a rounding edge of 4
    // bits, which are 14 % apart, and nearly all by a step of 8 bits, .8 %.
    let [coarse, fine, half] =
        [moved(int4(), 0.02), moved(int8(), 0.02), moved(AnyBase::default(), 0.02)];
    assert!(coarse > 0.02 && coarse < 0.2, "{coarse}");
    assert!(fine > 0.3 && fine <= half && half < 0.6, "{fine} {half}");
}

/// The mean of the squares of gradients, and not the square of their mean; over that of text and its mean.
#[test]
fn fisher_information_is_a_mean_over_samples() {
    let device = Device::default().autodiff();
    let config = Gpt2Config {
        vocab_size: 257,
        n_positions: 48,
        n_embd: 8,
        n_layer: 1,
        n_head: 2,
        ..Gpt2Config::default()
    };
    let model = PlainGpt2::random(&config, Key::from_seed(1), &device).unwrap();
    let layout = linear_layers(&model).unwrap();
    let model = arrange(model, &layout);
    let facts = Facts::new(2, bytes().as_ref(), 48, Key::from_seed(1)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let windows = WindowSampler::new(corpus.split(Split::Train), 17, 1).unwrap();
    let text = [Batch::first_of(&windows, 0, 1, &device)];
    let squares = |loss: gpt2_model::Loss| -> Vec<f64> {
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let flat = flat_gradient(&model, &layout, &gradients).unwrap();
        flat.into_iter().map(|it| f64::from(it).powi(2)).collect()
    };
    let of_fact = |it: &Sentence| {
        let x: Vec<i64> = it.tokens.iter().map(|&it| it.into()).collect();
        let last = x.len() - 1;
        let tokens = |range: std::ops::Range<usize>| TensorData::new(x[range].to_vec(), [last]);
        let input = Tensor::<1, Int>::from_data(tokens(0..last), &device).unsqueeze();
        let targets = Tensor::from_data(tokens(1..last + 1), &Device::default());
        let hidden = model.hidden(input).squeeze_dim::<2>(0);
        squares(cross_entropy(&model.head_factors(hidden), &targets))
    };
    let [a, b] = [0, 1].map(|place| of_fact(&facts.statements[place]));
    let of_text = squares(cross_entropy(&text[0].factors(&model), &text[0].targets));
    let found = fisher::ratio(&model, &layout, &facts.statements, &text).unwrap();
    for tensor in layout.tensors() {
        let range = tensor.range();
        let mean = of_text[range.clone()].iter().sum::<f64>() / range.len() as f64;
        for place in range {
            let expected = f64::midpoint(a[place], b[place]) / (of_text[place] + mean);
            let found = f64::from(found[place]);
            assert!((found - expected).abs() <= 1e-4 * expected + 1e-12, "{found} {expected}");
        }
    }
}
