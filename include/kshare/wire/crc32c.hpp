// SPDX-License-Identifier: Apache-2.0
// What:        CRC-32C (Castagnoli, reflected): the check over a record batch, while it streams in.
// Flow:        the link's receive window -> Crc32c -> record/ compares it with the batch header.
// Memory:      8 bytes an object, all-zero is a fresh one. Constants: 4 KiB (four octets a step);
//              1 KiB (one octet a step) where the compiler optimises for size (-Os, -Oz); 64 bytes
//              (four bits a step) with KSHARE_NO_CRC32C_TABLE defined. Where translation units
//              differ in this the linker keeps one of two, whose results are the same.
// Valid until: nothing is kept of the bytes given.
// Errors:      none; value() may be asked at any time and does not end the stream.
//
// The CPU's own instruction is used where there is one, several times as fast as the tables:
//   x86-64       found out at run time, once for each Crc32c object (the answer survives reset());
//                -msse4.2 settles it at compile time and drops the tables from the program.
//   x86, ARM     at compile time only: -msse4.2, -march=armv8-a+crc (armv8.1-a implies it).
#ifndef KSHARE_WIRE_CRC32C_HPP
#define KSHARE_WIRE_CRC32C_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kshare/base/bytes.hpp"

#if defined(__SSE4_2__)
#define KSHARE_CRC32C_X86 1
#define KSHARE_CRC32C_TARGET
#elif defined(__x86_64__)
#include <cpuid.h>  // the compiler's; __builtin_cpu_supports would cost 5 KB of libgcc
#define KSHARE_CRC32C_X86 1
#define KSHARE_CRC32C_TARGET __attribute__((target("sse4.2")))
#define KSHARE_CRC32C_ASK_CPU 1
#elif defined(__ARM_FEATURE_CRC32) && (defined(__ARMEL__) || defined(__AARCH64EL__))
#include <arm_acle.h>
#define KSHARE_CRC32C_ARM 1
#endif

namespace kshare {

namespace crc32c_detail {

inline constexpr uint32_t kPolynomial = 0x82F63B78u;  // 0x1EDC6F41 with its bits reversed

// What `bits` zero bits do to a remainder.
constexpr uint32_t advance(uint32_t remainder, int bits) {
  for (int i = 0; i < bits; ++i) {
    remainder = (remainder >> 1) ^ ((remainder & 1u) != 0 ? kPolynomial : 0u);
  }
  return remainder;
}

struct NibbleTable {
  uint32_t row[16] = {};
};
constexpr NibbleTable make_nibble_table() {
  NibbleTable table;
  for (uint32_t i = 0; i < 16; ++i) table.row[i] = advance(i, 4);
  return table;
}
inline constexpr NibbleTable kNibbles = make_nibble_table();

struct OctetTable {
  uint32_t row[256] = {};
};
constexpr OctetTable make_octet_table() {
  OctetTable table;
  for (uint32_t i = 0; i < 256; ++i) table.row[i] = advance(i, 8);
  return table;
}
inline constexpr OctetTable kOctets = make_octet_table();

// row[k][i]: octet i followed by k zero octets.
struct SlicedTable {
  uint32_t row[4][256] = {};
};
constexpr SlicedTable make_sliced_table() {
  SlicedTable table;
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t remainder = i;
    for (auto& row : table.row) {
      remainder = advance(remainder, 8);
      row[i] = remainder;
    }
  }
  return table;
}
inline constexpr SlicedTable kSlices = make_sliced_table();

}  // namespace crc32c_detail

// All of these go on from `crc`, the CRC of what came before (0 for nothing), and answer the CRC of
// both together.

// Four bits a step.
inline uint32_t crc32c_nibble(uint32_t crc, const uint8_t* data, size_t size) {
  const auto& row = crc32c_detail::kNibbles.row;
  uint32_t state = ~crc;
  for (size_t i = 0; i < size; ++i) {
    state ^= data[i];
    state = (state >> 4) ^ row[state & 15u];
    state = (state >> 4) ^ row[state & 15u];
  }
  return ~state;
}

// One octet a step.
inline uint32_t crc32c_octet(uint32_t crc, const uint8_t* data, size_t size) {
  const auto& row = crc32c_detail::kOctets.row;
  uint32_t state = ~crc;
  for (size_t i = 0; i < size; ++i) state = (state >> 8) ^ row[(state ^ data[i]) & 255u];
  return ~state;
}

// Four octets a step.
inline uint32_t crc32c_sliced(uint32_t crc, const uint8_t* data, size_t size) {
  const auto& row = crc32c_detail::kSlices.row;
  uint32_t state = ~crc;
  for (; size >= 4; data += 4, size -= 4) {
    state ^= static_cast<uint32_t>(data[0]) | (static_cast<uint32_t>(data[1]) << 8) |
             (static_cast<uint32_t>(data[2]) << 16) | (static_cast<uint32_t>(data[3]) << 24);
    state = row[3][state & 255u] ^ row[2][(state >> 8) & 255u] ^ row[1][(state >> 16) & 255u] ^
            row[0][state >> 24];
  }
  for (; size != 0; ++data, --size) state = (state >> 8) ^ row[0][(state ^ *data) & 255u];
  return ~state;
}

// The one of the three that this build has chosen.
inline uint32_t crc32c_portable(uint32_t crc, const uint8_t* data, size_t size) {
#if defined(KSHARE_NO_CRC32C_TABLE)
  return crc32c_nibble(crc, data, size);
#elif defined(__OPTIMIZE_SIZE__)
  return crc32c_octet(crc, data, size);
#else
  return crc32c_sliced(crc, data, size);
#endif
}

#if defined(KSHARE_CRC32C_X86)

// Call it only if crc32c_hardware_usable().
KSHARE_CRC32C_TARGET inline uint32_t crc32c_hardware(uint32_t crc, const uint8_t* data,
                                                     size_t size) {
  uint32_t state = ~crc;
#if defined(__x86_64__)
  uint64_t wide = state;
  for (; size >= 8; data += 8, size -= 8) {
    uint64_t word = 0;
    std::memcpy(&word, data, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  state = static_cast<uint32_t>(wide);
#endif
  for (; size >= 4; data += 4, size -= 4) {
    uint32_t word = 0;
    std::memcpy(&word, data, 4);
    state = __builtin_ia32_crc32si(state, word);
  }
  for (; size != 0; ++data, --size) state = __builtin_ia32_crc32qi(state, *data);
  return ~state;
}

#elif defined(KSHARE_CRC32C_ARM)

inline uint32_t crc32c_hardware(uint32_t crc, const uint8_t* data, size_t size) {
  uint32_t state = ~crc;
#if defined(__aarch64__)
  for (; size >= 8; data += 8, size -= 8) {
    uint64_t word = 0;
    std::memcpy(&word, data, 8);
    state = __crc32cd(state, word);
  }
#endif
  for (; size >= 4; data += 4, size -= 4) {
    uint32_t word = 0;
    std::memcpy(&word, data, 4);
    state = __crc32cw(state, word);
  }
  for (; size != 0; ++data, --size) state = __crc32cb(state, *data);
  return ~state;
}

#endif

// False as well where crc32c_hardware() is not compiled in. On x86-64 it asks the CPU, which a
// virtual machine may answer slowly: ask once.
inline bool crc32c_hardware_usable() {
#if defined(KSHARE_CRC32C_ASK_CPU)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & (1u << 20)) != 0;  // SSE 4.2
#elif defined(KSHARE_CRC32C_X86) || defined(KSHARE_CRC32C_ARM)
  return true;
#else
  return false;
#endif
}

class Crc32c {
 public:
  // Begins anew.
  void reset() { value_ = 0; }

  // The octets may come in pieces of any size, empty ones too.
  void update(Bytes bytes) {
    static_cast<void>(cpu_);  // of use to some builds only; gcc 11 knows no [[maybe_unused]] member
#if defined(KSHARE_CRC32C_ASK_CPU)
    if (cpu_ == Cpu::unknown) cpu_ = crc32c_hardware_usable() ? Cpu::able : Cpu::unable;
    value_ = cpu_ == Cpu::able ? crc32c_hardware(value_, bytes.data, bytes.size)
                               : crc32c_portable(value_, bytes.data, bytes.size);
#elif defined(KSHARE_CRC32C_X86) || defined(KSHARE_CRC32C_ARM)
    value_ = crc32c_hardware(value_, bytes.data, bytes.size);
#else
    value_ = crc32c_portable(value_, bytes.data, bytes.size);
#endif
  }

  // The CRC of everything since reset(), as Kafka writes it into a batch; 0 for nothing.
  uint32_t value() const { return value_; }

 private:
  enum class Cpu : uint8_t { unknown, able, unable };

  uint32_t value_ = 0;
  Cpu cpu_ = Cpu::unknown;  // always here: compiler flags must not change a layout
};

// Of one piece; for many, Crc32c remembers what the CPU can do.
inline uint32_t crc32c(Bytes bytes) {
  Crc32c crc;
  crc.update(bytes);
  return crc.value();
}

}  // namespace kshare

#undef KSHARE_CRC32C_TARGET
#undef KSHARE_CRC32C_ASK_CPU

#endif  // KSHARE_WIRE_CRC32C_HPP
