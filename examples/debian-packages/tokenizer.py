"""Text to terms: the tokenizer that documents and queries share.

The same rules exist a second time in SQL (functions fold_text, stem_word and query_terms in schema.sql), because queries
are embedded inside PostgreSQL. Whoever changes one side changes the other; test/quickstart compares them.
"""

import re
import unicodedata

# Words that say nothing about a package. Loaded into the table stop_words, so SQL has no list of its own.
STOP_WORDS = frozenset(
    """a also an and any are as at be by can for from has i in into is it its me my need not of on or our some that the
    their this to us use used using via want we which with you your""".split()
)

_COMBINING_MARKS = re.compile("[\u0300-\u036f]")
_WORD = re.compile(r"[a-z0-9]+(?:\+\+|#)?")  # keeps c++, g++ and c# apart from c and g
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def fold_text(text):
    """Lower case without accents: "Résumé" becomes "resume". Letters beyond a to z are left for the tokenizer to drop."""
    return _COMBINING_MARKS.sub("", unicodedata.normalize("NFKD", text)).translate(_ASCII_LOWER)


def stem_word(word):
    """Singular of an English plural: the S-stemmer of Harman, "How effective is suffixing?" (1991), table 1.

    Deliberately weak: it joins "game" and "games" but never "general" and "generate". The latent space finds the rest.
    """
    if len(word) < 4:
        return word
    if re.search("[^ae]ies$", word):
        return word[:-3] + "y"
    if re.search("[aeo]es$", word):
        return word
    if re.search("[^us]s$", word):
        return word[:-1]
    return word


def words(text):
    """Stems of the words of a text in order, without stop words."""
    return [stem_word(word) for word in _WORD.findall(fold_text(text)) if word not in STOP_WORDS]


def words_and_pairs(text):
    """Words, then pairs of neighbouring words joined by a space."""
    single = words(text)
    return single + [first + " " + second for first, second in zip(single, single[1:])]
