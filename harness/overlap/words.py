"""Text as the words that are compared."""

import re

from finetune.survey.near import normal_form

# Thai to Lao, Burmese, Khmer, kana, Han: scripts that put no space between words.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def words(text: str) -> list[str]:
    """The words of a text without what changes no question: case, punctuation, white space, compatibility forms.

    In scripts that put no space between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) every character is one.
    """
    normal = normal_form(text)
    return (normal if normal.isascii() else _SPACELESS.sub(r" \g<0> ", normal)).split()
