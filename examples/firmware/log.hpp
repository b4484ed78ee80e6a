// SPDX-License-Identifier: Apache-2.0
// What:        log lines on standard error, each written at once and whole.
// Flow:        Line(Level::info) << "words" << number; leaves when the statement ends.
// Memory:      one line on the stack.
// Errors:      none; a line that cannot be written is lost.
#ifndef GATEWAY_LOG_HPP
#define GATEWAY_LOG_HPP

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "kshare/core/describe.hpp"

namespace gateway {

// Syslog's numbers, as systemd reads them: "<4>words".
enum class Level : char { error = '3', warning = '4', notice = '5', info = '6' };

inline void write_all(int to, const char* data, size_t size) {
  while (size != 0) {
    const ssize_t count = ::write(to, data, size);
    if (count < 0 && errno != EINTR) return;
    if (count < 0) continue;
    data += count;
    size -= static_cast<size_t>(count);
  }
}

class Line {
 public:
  explicit Line(Level level) : text_(line_, sizeof line_) {
    // Somebody reads along who knows of priorities.
    const bool marked = ::getenv("JOURNAL_STREAM") != nullptr ||
                        ::getenv("NOTIFY_SOCKET") != nullptr;
    const char mark[] = {'<', static_cast<char>(level), '>', '\0'};
    text_ << (marked ? mark : "gateway: ");
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;
  ~Line() {
    line_[text_.size()] = '\n';  // in the place of the NUL
    write_all(STDERR_FILENO, line_, text_.size() + 1);
  }
  template <typename Words>
  Line& operator<<(const Words& words) {
    text_ << words;
    return *this;
  }

 private:
  char line_[2 * kshare::kLineBytes];
  kshare::TextOut text_;
};

}  // namespace gateway

#endif  // GATEWAY_LOG_HPP
