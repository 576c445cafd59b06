"""Units and joints of texts, by Unicode's own examples."""

import unicodedata

import pytest

from unlearnkit import writing


@pytest.mark.parametrize(
    ("prompt", "answer", "text"),
    [
        ("Dave was born in", "Larkhollow", "Dave was born in Larkhollow"),
        ("小明出生在", "北京", "小明出生在北京"),
        ("デイブの猫の名前は", "ピム", "デイブの猫の名前はピム"),
        ("เดฟเกิดที่", "เชียงใหม่", "เดฟเกิดที่เชียงใหม่"),  # ends with a combining mark
        ("ເດບເກີດຢູ່", "ວຽງຈັນ", "ເດບເກີດຢູ່ວຽງຈັນ"),
        ("ដេវកើតនៅ", "ភ្នំពេញ", "ដេវកើតនៅភ្នំពេញ"),
        ("ဒေ့ဗ်မွေးရပ်မှာ", "ရန်ကုန်", "ဒေ့ဗ်မွေးရပ်မှာရန်ကုန်"),
        ("데이브가 태어난 곳은", "서울", "데이브가 태어난 곳은 서울"),  # Korean has spaces
        ("डेव का जन्म", "दिल्ली", "डेव का जन्म दिल्ली"),
        ("他的名字是：", "Dave", "他的名字是：Dave"),  # the last letter decides, not what follows it
        ("Dave's name in Chinese is", "戴夫", "Dave's name in Chinese is 戴夫"),
        ("In 1971:", "a mill", "In 1971: a mill"),
        ("1971", "a mill", "1971 a mill"),
        ("", "a mill", "a mill"),
        ("Dave", "", "Dave"),
    ],
)
def test_a_space_joins_where_the_script_has_spaces(prompt, answer, text):
    assert writing.join(prompt, answer) == text


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("He's born in 1971, at Oster_Fell!", ["he", "s", "born", "in", "1971", "at", "oster", "fell"]),
        ("हिन्दी दीन", ["हिन्दी", "दीन"]),
        ("Ünal E\u0301va", ["ünal", "\u00e9va"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),  # one word: UAX 29, rule WB4
        ("iPhoneの値段", ["iphone", "の", "値", "段"]),
        ("กำ", ["กำ"]),  # UAX 29 names Thai sara am as part of the cluster before it
        ("မာ", ["မ", "ာ"]),  # and Burmese aa as a cluster of its own
        ("\u0301 🎉 … _", []),
    ],
)
def test_units(text, units):
    assert writing.units(text) == units
    assert writing.units(unicodedata.normalize("NFD", text)) == units
    assert writing.composed(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFC", text)


def test_composed_forms_are_equal_however_typed():
    assert writing.composed("Zoe\u0308") == "Zo\u00eb" == writing.composed("Zo\u00eb")
    assert writing.composed("\u212b") == "\u00c5"  # the angstrom sign is canonically A with a ring
