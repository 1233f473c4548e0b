"""What other languages, and abbreviations, call train, val and test.

Such a word alone says nothing ('prova' may be a class); beside a folder of another split it does:
'entrenamiento' beside 'prueba' (see ``split_folders``).
"""

from __future__ import annotations

import re
import unicodedata

_TRAIN = """
tr trainval learn learning
trainings trainingsdaten trainieren lern lerndaten
entrainement apprentissage
entrenamiento treino treinamento addestramento allenamento
trainen traning traening trening treningowe treningowy treningowa uczenie uczace
trenovaci trenink antrenament egitim latih pelatihan
обучение обучающая обучающие тренировка тренировочная тренировочные навчання тренувальна
训练 訓練 学習 훈련 학습 تدريب
"""
_VAL = """
va trainvalid validierung validierungs validacion validacao validazione convalida validatie
validering walidacja walidacyjne walidacyjny walidacyjna validace validacni dogrulama validare
validasi валидация валидационная валидационные проверка перевірка
验证 驗證 検証 검증 تحقق
"""
_TEST = """
te unseen tests testen testing prufung essai evaluation prueba pruebas ensayo teste testes
provas prova collaudo valutazione avaliacao evaluacion toets testowe testowy testowa
testovaci testning sinama uji pengujian
тест тесты тестовая тестовые тестирование тестова
测试 測試 テスト 評価 评估 시험 테스트 평가 اختبار
"""
# What is written onto such a word, or stands beside it, and changes nothing.
ENDINGS = """daten datensatz satz menge bilder set 数据集 數據集 データセット 数据 數據 データ
画像 图片 集 用 데이터셋 데이터 이미지 셋""".split()  # noqa: SIM905
BESIDE = frozenset(
    """daten bilder datos dados dati imagenes imagens immagini donnees fotos foto conjunto jeu
    ensemble zestaw zbior sada données de del di da do des d du la le les el выборка набор данные
    изображения дані gegevens afbeeldingen kumesi seti""".split()  # noqa: SIM905
)


def bare(word: str) -> str:
    """A word in lower case without accents, as people type it.

    Examples
    --------
    >>> bare("Entraînement"), bare("validação")
    ('entrainement', 'validacao')
    """
    apart = unicodedata.normalize("NFKD", word.casefold())
    if not re.match(r"[a-z]", apart):  # signs above other scripts' letters make other letters
        return unicodedata.normalize("NFC", word.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


SPLIT_OF = {
    bare(word): split
    for split, words in (("train", _TRAIN), ("val", _VAL), ("test", _TEST))
    for word in words.split()
}
_GLUED = re.compile(
    f"({'|'.join(sorted(map(re.escape, SPLIT_OF), key=len, reverse=True))})"
    f"(?:{'|'.join(map(re.escape, ENDINGS))})+"
)


def split_in_other_words(word: str) -> str | None:
    """The split that a word may say; None if it says none.

    Examples
    --------
    >>> [split_in_other_words(word) for word in ("prueba", "训练集", "Testdaten", "ants")]
    ['test', 'train', None, None]
    """
    plain = bare(word)
    if plain in SPLIT_OF:
        return SPLIT_OF[plain]
    glued = _GLUED.fullmatch(plain)
    return SPLIT_OF[glued[1]] if glued else None
