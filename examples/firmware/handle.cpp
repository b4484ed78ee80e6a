// SPDX-License-Identifier: Apache-2.0
// Your code goes here. This sample prints the value, cannot do "busy" the first time, and knows no
// use for a record without a value.
#include "handle.hpp"

#include <errno.h>
#include <unistd.h>

namespace gateway {
namespace {

// False: standard output is gone, or full and not to be waited for.
bool print(const char* data, size_t size) {
  while (size != 0) {
    const ssize_t count = ::write(STDOUT_FILENO, data, size);
    if (count < 0 && errno != EINTR) return false;
    if (count < 0) continue;
    data += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

}  // namespace

Work handle(const kshare::Record& record) {
  if (record.value.is_null()) return Work::bad;
  const std::string_view command = record.value.text();
  if (command == "busy" && record.delivery_count == 1) return Work::retry;
  const bool printed = print(command.data(), command.size()) && print("\n", 1);
  return printed ? Work::done : Work::retry;
}

}  // namespace gateway
