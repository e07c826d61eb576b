# ruff: noqa: E501
"""A small corpus for token estimates: prose in many languages, code, data, and adversarial texts."""

import base64
import random

_rng = random.Random(7)


def _of(alphabet: str, length: int = 600) -> str:
    return "".join(_rng.choice(alphabet) for _ in range(length))


def _range(first: int, end: int, length: int = 300) -> str:
    return "".join(chr(_rng.randrange(first, end)) for _ in range(length))


PROSE = {
    "english": "The committee met on Thursday to discuss the proposal, which had been circulated the week before. Most of "
    "those present agreed that something had to be done about the bridge, but nobody could say who would pay for it. "
    "After an hour the chair suggested that they come back to the question in the spring.",
    "chat": "hey can you help me write an email to my landlord? the heating has been broken since monday and i've called "
    "twice already. keep it polite but firm please, thanks!!",
    "technical": "A virtual key maps to a hash. When the hash is found, its limits are read together with the counters of "
    "every account that pays for it, and the request is admitted only if each of them has room.",
    "german": "Die Grundstücksverkehrsgenehmigungszuständigkeitsübertragungsverordnung ist außer Kraft getreten. Trotzdem "
    "fragen viele Leute noch danach, weil das Wort so schön lang ist.",
    "french": "L'été dernier, nous avons traversé les Cévennes à pied, d'un village à l'autre, sans jamais savoir où nous "
    "dormirions le soir. C'était à la fois éprouvant et merveilleux.",
    "spanish": "¿Quién se acuerda todavía de aquella mañana en que el río se llevó el puente? Los más viejos, quizá, y el "
    "señor que vendía churros en la plaza.",
    "portuguese": "Não há nada mais difícil do que explicar a alguém que nunca viu o mar o que é o mar. A avó tentava, com as "
    "mãos, e acabava sempre a rir.",
    "finnish": "Epäjärjestelmällisyydestäänsäkään huolimatta hän sai työnsä valmiiksi ennen määräaikaa. Lumi oli jo sulanut "
    "pihalta, ja naapurin koira haukkui yhä.",
    "hungarian": "Megszentségteleníthetetlenségeskedéseitekért senki sem fog megdicsérni benneteket, de azért jó játék volt.",
    "polish": "W Szczebrzeszynie chrząszcz brzmi w trzcinie, a myśmy siedzieli na ławce i czekali, aż przestanie padać.",
    "turkish": "Çekoslovakyalılaştıramadıklarımızdan mısınız diye sordular, biz de güldük ve çayımızı içmeye devam ettik.",
    "swahili": "Mwalimu aliwaambia wanafunzi wake kwamba elimu ni ufunguo wa maisha, na kwamba wasikate tamaa hata kidogo.",
    "indonesian": "Pemerintah mengumumkan bahwa pembangunan jembatan itu akan dimulai tahun depan apabila dananya sudah "
    "tersedia.",
    "vietnamese": "Trời hôm nay rất đẹp, chúng tôi quyết định đi bộ dọc theo bờ sông và ăn phở ở quán quen.",
    "russian": "Все счастливые семьи похожи друг на друга, а каждая несчастливая несчастлива по-своему, сказал он и закрыл "
    "книгу.",
    "ukrainian": "Ґрунтовно підготувавшись, вона виїхала до Харкова ще до світанку, щоб устигнути на зустріч.",
    "greek": "Το καλοκαίρι πηγαίναμε στο νησί με το παλιό καράβι και μετρούσαμε τα φώτα στην ακτή.",
    "arabic": "ذهبنا إلى السوق في الصباح الباكر لنشتري الخبز والزيتون، ثم عدنا إلى البيت قبل أن تشتد الحرارة.",
    "hebrew": "בבוקר יצאנו לשוק לקנות לחם וזיתים, וחזרנו הביתה לפני שהתחמם.",
    "hindi": "हम सुबह जल्दी बाज़ार गए ताकि ताज़ी सब्ज़ियाँ और फल ख़रीद सकें, और फिर घर लौट आए।",
    "tamil": "நாங்கள் காலையில் சந்தைக்குச் சென்று காய்கறிகளும் பழங்களும் வாங்கி வீடு திரும்பினோம்.",
    "bengali": "আমরা সকালে বাজারে গিয়ে শাকসবজি আর ফল কিনে বাড়ি ফিরে এলাম।",
    "thai": "เช้านี้เราไปตลาดเพื่อซื้อผักและผลไม้สด แล้วก็กลับบ้านก่อนที่อากาศจะร้อน",
    "chinese": "今天早上我们去市场买了新鲜的蔬菜和水果，然后在天气变热之前回了家。桥的问题明年春天再讨论。",
    "traditional": "會議於星期四召開，討論上週傳閱的提案。多數與會者同意必須對這座橋採取行動，但沒有人知道該由誰付錢。",
    "japanese": "昨日は友達と一緒に川沿いを散歩して、いつものラーメン屋で晩ご飯を食べました。とても楽しかったです。",
    "korean": "우리는 아침 일찍 시장에 가서 신선한 채소와 과일을 사고 더워지기 전에 집으로 돌아왔습니다.",
    "georgian": "დილით ბაზარში წავედით ახალი ბოსტნეულისა და ხილის საყიდლად.",
    "armenian": "Առավոտյան մենք գնացինք շուկա՝ թարմ բանջարեղեն և միրգ գնելու։",
    "amharic": "ጠዋት ወደ ገበያ ሄደን ትኩስ አትክልትና ፍራፍሬ ገዛን።",
}
CODE = {
    "python": "def fibonacci(n: int) -> int:\n    previous, current = 0, 1\n    for _ in range(n):\n"
    "        previous, current = current, previous + current\n    return previous\n\n\n"
    'if __name__ == "__main__":\n    print([fibonacci(i) for i in range(20)])\n',
    "javascript": "export async function* lines(stream) {\n  const decoder = new TextDecoder();\n  let rest = '';\n"
    "  for await (const chunk of stream) {\n    rest += decoder.decode(chunk, { stream: true });\n"
    "    const parts = rest.split('\\n');\n    rest = parts.pop() ?? '';\n    yield* parts;\n  }\n}\n",
    "sql": "SELECT u.id, u.name, COUNT(o.id) AS orders\nFROM users u LEFT JOIN orders o ON o.user_id = u.id\n"
    "WHERE u.created_at >= '2026-01-01' GROUP BY u.id, u.name HAVING COUNT(o.id) > 3 ORDER BY orders DESC;\n",
    "c": "#include <stdio.h>\n\nint main(int argc, char **argv) {\n\tfor (int i = 1; i < argc; ++i)\n"
    "\t\tprintf(\"%s%c\", argv[i], i + 1 < argc ? ' ' : '\\n');\n\treturn 0;\n}\n",
    "shell": 'for f in "$@"; do [ -f "$f" ] && wc -l < "$f" | awk \'{print $1 * 2}\' >> /tmp/out.txt || exit 1; done\n',
    "yaml": "services:\n  proxy:\n    image: example/proxy:1.2\n    ports: ['4000:4000']\n    environment:\n"
    "      LITELLM_MASTER_KEY: ${KEY}\n    volumes:\n      - ./config.yaml:/app/config.yaml:ro\n",
    "markdown": "# Setup\n\n1. Install **uv**: `pip install uv`\n2. Run `just dev`\n\n| name | default |\n|---|---|\n"
    "| `PORT` | 4000 |\n| `MAX_BODY_MB` | 32 |\n",
    "html": '<ul class="nav"><li><a href="/about">About us</a></li><li><a href="/contact">Contact</a></li></ul>\n' * 4,
    "tools": '{"type":"function","function":{"name":"get_weather","description":"The current weather in a city",'
    '"parameters":{"type":"object","properties":{"city":{"type":"string"},"unit":{"type":"string",'
    '"enum":["celsius","fahrenheit"]}},"required":["city"]}}}\n' * 3,
    "log": '10.0.0.7 - - [20/Nov/2026:12:00:30 +0000] "GET /v1/models HTTP/1.1" 200 512 "-" "curl/8.5.0"\n' * 4,
    "traceback": 'Traceback (most recent call last):\n  File "/app/main.py", line 42, in <module>\n'
    "    raise ValueError('no such key: %r' % key)\nValueError: no such key: 'abc'\n",
}
DATA = {
    "base64": base64.b64encode(_rng.randbytes(600)).decode(),
    "hex": _rng.randbytes(400).hex(),
    "uuids": "\n".join(f"{_rng.getrandbits(128):032x}" for _ in range(20)),
    "digits": _of("0123456789"),
    "numbers": ", ".join(f"{_rng.random():.4f}" for _ in range(80)),
    "matrix": "1 0 0 2 3 1 0\n" * 40,
    "csv": "\n".join(f"{i},item-{i},{i * 1.5},{'yes' if i % 2 else 'no'}" for i in range(40)),
    "urls": "https://example.com/a/b?c=d&e=f#g https://sub.example.org/path/to/some/page.html?id=12345\n" * 4,
    "emoji": "👍👍🏽 👩‍👩‍👧‍👦 🇩🇪🇫🇷 🎉🎊 😂🤣 ❤️‍🔥 🧑🏿‍💻 ☕️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "mathematics": "∀x∈ℝ: ∃ε>0, |f(x)−f(y)| < ε ⇒ ∫₀^∞ e^{−x²} dx = √π/2, ∑_{n=1}^∞ 1/n² = π²/6",
    "box": "┌──────┬──────┐\n│ name │ size │\n├──────┼──────┤\n│ abc  │ 123  │\n└──────┴──────┘\n",
}
HOSTILE = {
    "letters": _of("abcdefghijklmnopqrstuvwxyz"),
    "words": _of("abcdefghijklmnopqrstuvwxyz "),
    "capitals": _of("ABCDEFGHIJKLMNOPQRSTUVWXYZ "),
    "mixed case": "aA" * 300,
    "ascii": _of("".join(map(chr, range(32, 127)))),
    "punctuation": _of("!@#$%^&*()-=+[]{};:,.<>?/|~`'\"\\ "),
    "controls": "\x00\x01\x02\x1b" * 100,
    "western letters": _range(0xC0, 0x100),
    "latin letters": _range(0x100, 0x250),
    "greek letters": _range(0x3AC, 0x3CF),
    "cyrillic letters": _range(0x410, 0x450),
    "rare cyrillic letters": _range(0x460, 0x530),
    "hebrew letters": _range(0x5D0, 0x5EB),
    "arabic letters": _range(0x621, 0x64B),
    "rare arabic letters": _range(0x600, 0x700),
    "devanagari": _range(0x900, 0x980),
    "bengali letters": _range(0x985, 0x9B9),
    "thai letters": _range(0xE01, 0xE5C),
    "kana": _range(0x3041, 0x30FB),
    "full width": _range(0xFF01, 0xFF5F),
    "rare characters": _range(0x4E00, 0x9FFF),
    "hangul": _range(0xAC00, 0xD7A3),
    "any character": _range(0xA1, 0x2FFF),
    "ligatures": "ﷺ" * 50,
    "accents": "a\u0301\u0302\u0303" * 60,
    "frequent words": "the and for you all " * 60,
    "frequent parts": "theingandforcon" * 40,
    **{f"frequent part {part}": f"{part} " * 60 for part in ("the", "ing", "ent", "get", "com")},
    "frequent parts of a kind": "retretyouretyouretyouretyouyou" * 5,
    "other frequent parts": "foryouyouyouyouforforyouforyou" * 5,
    "shavian": "𐑩𐑯𐑮𐑧𐑒𐑩𐑜𐑯𐑲𐑟𐑛 𐑦𐑥𐑦𐑡 𐑓𐑲𐑤 𐑓𐑹𐑥𐑨𐑑 " * 4,
    "single letters": "a b c d e f g " * 60,
    "joined": "the,and;for(ing)" * 50,
    "short lines": "\n a\n b" * 80,
    "sums": "x = y + z\n" * 50,
    "blank": " " * 800 + "\n" * 300 + "\t" * 300,
}
SHORT = dict(
    enumerate(["", "Hi", "ping", "1+1=?", "What is the capital of France?", "你好", "Привет, как дела?", "👍", "नमस्ते"])
)
CORPUS = {
    f"{kind}: {name}": text
    for kind, texts in (("prose", PROSE), ("code", CODE), ("data", DATA), ("hostile", HOSTILE), ("short", SHORT))
    for name, text in texts.items()
}
# Ordinary texts. Adversarial texts and texts under ten characters say nothing about typical accuracy.
USUAL = [text for name, text in CORPUS.items() if not name.startswith(("hostile", "short"))]
