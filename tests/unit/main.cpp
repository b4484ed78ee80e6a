// SPDX-License-Identifier: Apache-2.0
// What:        main() of the unit-test program; every other file here holds test cases only.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
