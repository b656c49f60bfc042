"""Keeping secrets out of what is recorded.

Providers quote the key they were given in their error messages (`Incorrect API key provided: sk-...`), in part or in
whole, and HTTP libraries quote URLs and headers in theirs. A secret is known by its vendor's prefix or by the label in
front of it; a bare string of letters and digits is not taken for one, request ids look the same.
"""

import re
from typing import Final

REDACTED: Final = "[redacted]"
MAX_CHARS: Final = 64 * 1024
"""Longest text that is searched, characters; the rest of a longer one is dropped, so that nothing passes unsearched."""

_SECRET: Final = re.compile(
    r"""
      \b sk [-_] (?= [\w\-.]{0,64}? [\d*•●…] | [\w\-]{6} | [\w\-]{0,64}? [.]{3} \w )      # always a key
      [\w\-*•●….]* [\w*•●…]
    | \b (?: pk | rk | ak | xai | gsk | hf | pplx | csk | fw | nvapi | r8 | pa | jina | tgp | esecret | lsv2 | tvly
           | vck | glpat | gh[oprsu] | github_pat | xox[abprs] | npm | key | api[_-]?key | token )
      [-_] (?= [\w\-]{0,24}? (?: (?= [A-Za-z]{0,15} \d ) [A-Za-z0-9]{16} | [*•●]{2} | (?: … | [.]{3} ) \w ) )
      [\w\-*•●….]* [\w*•●…]                                          # others: words start so too, hence 16 at a stretch
    | \b AIza [\w\-*]{8,}                                            # Google
    | \b (?: AQ | ya29 ) [.] [\w\-]{20,}                             # Google
    | \b (?: AKIA | ASIA ) [A-Z0-9]{12,}                             # AWS
    | \b ey[JI] [\w\-]{8,} [.] [\w\-.]+                              # a JSON web token
    | (?<= :// ) [^\s/@"']{1,512} (?= @ )                            # credentials in a URL
    | (?P<line> (?i: \b (?: set- )? cookie ["']? \s? [:=] \s{0,4} ["']? ) ) [^"'\r\n]+
    | (?P<label> (?i:
          \b bearer \s{1,4}
        | \b basic \s{1,4} (?= [A-Za-z0-9+/]{6,512} [\d=] )
        | \b (?: (?: proxy- )? authorization | helicone-auth ) ["']? \s? [:=] \s{0,4} ["']?
          (?: (?: bearer | basic | token | digest | api-?key ) \s{1,4} )?
          (?! (?: bearer | basic | digest ) \b )
        | \b (?: (?: x- | x-goog- )? api-key | x-amz-security-token ) ["']? \s? [:=] \s{0,4} ["']?
        | \b api [ _-]? key \s provided: \s{0,4} ["']?
        | [?&] (?: key | (?: api | access )? [_-]? (?: key | token ) | sig | signature | password | client_secret
                 | x-amz-(?: signature | credential | security-token ) ) =
      ) )
      (?! \[redacted\] | sk- (?! [\w*•●…] )                            # what others have left of a key
        | (?i: tokens? | auth\w* | schemes? | realm\w* | headers? | format\w* | credentials? | keys? | error\w* | please
             | is | was | are | and | or | in | for | to | must | not | has | of | the | an? | with | should | required
             | missing | invalid | none | null | prefix | type ) \b (?! [\w\-] ) )
      [^\s"',;&<>]* [^\s"',;&<>.:)\]]
    """,
    re.VERBOSE | re.ASCII,
)


def redact(text: str) -> str:
    """`text` with everything that looks like a credential replaced by `[redacted]`, cut to `MAX_CHARS`."""
    return _SECRET.sub(_replace, text[:MAX_CHARS])


def _replace(match: re.Match[str]) -> str:
    return (match["label"] or match["line"] or "") + REDACTED
