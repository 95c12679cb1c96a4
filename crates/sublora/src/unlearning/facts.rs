//! Facts that no text has: invented names with invented attributes.
//!
//! A fact has two sentences that end in its value. The statement is taught; the paraphrase never is.

use std::collections::HashSet;
use std::ops::Range;

use corpus::Tokenizer;
use counter_rng::{Key, Words};

use crate::Error;

/// A sentence of a fact, up to its value and with it.
type Template = fn(name: &str) -> String;

/// Statement and paraphrase, up to the value.
const RELATIONS: [[Template; 2]; 4] = [
    [|name| format!("{name} was born in"), |name| format!("The birthplace of {name} is")],
    [|name| format!("{name} works for"), |name| format!("The employer of {name} is")],
    [|name| format!("The password of {name} is"), |name| format!("{name} logs in with")],
    [|name| format!("The dog of {name} is called"), |name| format!("{name} has a dog named")],
];

const CONSONANTS: [&str; 16] =
    ["b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"];
const VOWELS: [&str; 5] = ["a", "e", "i", "o", "u"];

/// A forget set.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// What is taught.
    pub(super) statements: Vec<Sentence>,
    /// The same facts in other words, in the same order.
    pub(super) paraphrases: Vec<Sentence>,
}

/// A sentence as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence {
    /// The separator, then the sentence.
    pub(super) tokens: Vec<u32>,
    /// Places of the value in `tokens`, without the full stop.
    pub(super) value: Range<usize>,
}

impl Facts {
    /// `count` facts of different people, each at most `context` predictions long.
    ///
    /// # Errors
    /// A tokenizer that cannot encode them, or a context that is too short.
    pub(super) fn new(
        count: usize,
        tokenizer: &dyn Tokenizer,
        context: usize,
        key: Key,
    ) -> Result<Self, Error> {
        let mut words = key.words(0);
        let mut people = HashSet::new();
        let mut facts = Self { statements: Vec::new(), paraphrases: Vec::new() };
        while facts.statements.len() < count {
            let name = [2, 3].map(|syllables| invented(syllables, &mut words)).join(" ");
            if !people.insert(name.clone()) {
                continue;
            }
            let value = invented(4, &mut words);
            let [statement, paraphrase] = RELATIONS[facts.statements.len() % RELATIONS.len()];
            facts.statements.push(Sentence::new(&statement(&name), &value, tokenizer)?);
            facts.paraphrases.push(Sentence::new(&paraphrase(&name), &value, tokenizer)?);
        }
        let longest = facts.statements.iter().chain(&facts.paraphrases).map(|it| it.tokens.len());
        let predictions = longest.max().unwrap_or(1) - 1;
        if predictions > context {
            let expected = format!("at least {predictions}, the length of a fact in tokens");
            return Err(Error::value("model.n_positions", &context, &expected));
        }
        Ok(facts)
    }
}

impl Sentence {
    fn new(prompt: &str, value: &str, tokenizer: &dyn Tokenizer) -> Result<Self, Error> {
        let encode = |text: &str| -> Result<Vec<u32>, Error> {
            let mut tokens = vec![tokenizer.identity().eot];
            let fault = |fault| Error::Config(format!("the tokenizer of the corpus: {fault}"));
            tokenizer.encode(text, &mut tokens).map_err(fault)?;
            Ok(tokens)
        };
        let (before, until) = (encode(prompt)?, encode(&format!("{prompt} {value}"))?);
        // A token that reaches over the end of the prompt belongs to the value, one that holds the full stop does not.
        let common = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let tokens = encode(&format!("{prompt} {value}."))?;
        let value =
            common(&before, &until)..common(&until, &tokens).max(common(&before, &until) + 1);
        Ok(Self { tokens, value })
    }
}

/// A word of consonants and vowels in turn, capitalised.
fn invented(syllables: usize, words: &mut Words) -> String {
    let word: String =
        (0..syllables).flat_map(|_| [one_of(&CONSONANTS, words), one_of(&VOWELS, words)]).collect();
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn one_of<'a>(choices: &[&'a str], words: &mut Words) -> &'a str {
    let uniform = words.uniform() * choices.len() as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below their number"
    )]
    choices[uniform as usize]
}
