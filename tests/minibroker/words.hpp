// SPDX-License-Identifier: Apache-2.0
// What:        the words of one command line, taken from the front; complaints say what was wanted.
// Flow:        a line of standard input -> Words -> Commands.
// Memory:      one string.
// Errors:      Complaint is thrown: a sentence for a person; Commands answers it as "error: ...".
//
// Blanks part words. "a b" is one word; inside quotes \" \\ \n \r \t and \xHH are known.
#ifndef MINIBROKER_WORDS_HPP
#define MINIBROKER_WORDS_HPP

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

namespace minibroker {

struct Complaint {
  std::string text;
};

inline std::string quote(const std::string& word) { return '"' + word + '"'; }

inline int64_t to_number(const std::string& text, const std::string& what, int64_t least,
                         int64_t most) {
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0) {
    throw Complaint{what + " is a number, not " + quote(text)};
  }
  if (value >= least && value <= most) return value;
  const bool open = most == std::numeric_limits<int64_t>::max();
  throw Complaint{what + " is " + (open ? "at least " + std::to_string(least)
                                        : std::to_string(least) + " to " + std::to_string(most)) +
                  ", not " + text};
}

class Words {
 public:
  explicit Words(const std::string& line) : line_(line) {
    while (!line_.empty() && (line_.back() == '\r' || line_.back() == '\n')) line_.pop_back();
    skip_blanks();
  }

  bool empty() const { return at_ == line_.size(); }

  std::string next(const std::string& what) {
    if (empty()) throw Complaint{what + " is missing"};
    std::string word;
    bool quoted = false;
    while (at_ < line_.size() && (quoted || !blank(line_[at_]))) {
      const char c = line_[at_++];
      if (c == '"') quoted = !quoted;
      else if (quoted && c == '\\') word += escape();
      else word += c;
    }
    if (quoted) throw Complaint{"a quotation mark is not closed"};
    skip_blanks();
    return word;
  }

  int64_t number(const std::string& what, int64_t least = 0,
                 int64_t most = std::numeric_limits<int64_t>::max()) {
    return to_number(next(what), what, least, most);
  }
  int small(const std::string& what, int least = 0, int most = INT32_MAX) {
    return static_cast<int>(number(what, least, most));
  }

  void end() const {
    if (!empty()) throw Complaint{"too many words: " + quote(line_.substr(at_))};
  }

  // The line's end as it stands.
  std::string rest() {
    const std::string text = line_.substr(at_);
    at_ = line_.size();
    return text;
  }

 private:
  static bool blank(char c) { return c == ' ' || c == '\t'; }
  void skip_blanks() {
    while (at_ < line_.size() && blank(line_[at_])) ++at_;
  }
  char escape() {
    const char c = at_ < line_.size() ? line_[at_++] : '\0';
    switch (c) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case '"':
      case '\\': return c;
      case 'x': return hex();
      default: throw Complaint{"after \\ comes one of \\ \" n r t or xHH"};
    }
  }
  char hex() {
    const std::string digits = line_.substr(at_, 2);
    char* end = nullptr;
    const unsigned long value = std::strtoul(digits.c_str(), &end, 16);
    if (digits.size() != 2 || end != digits.c_str() + 2) {
      throw Complaint{"after \\x come two hexadecimal digits"};
    }
    at_ += 2;
    return static_cast<char>(value);
  }

  std::string line_;
  size_t at_ = 0;
};

}  // namespace minibroker

#endif  // MINIBROKER_WORDS_HPP
