// SPDX-License-Identifier: Apache-2.0
// What a program costs before kshare is in it.
int main() { return 0; }
