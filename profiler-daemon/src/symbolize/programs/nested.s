# Debug information of one function and one line for all addresses, with a million functions inlined into each other.
    .section .debug_abbrev, "", @progbits
    .byte 1, 0x11, 1, 0x11, 0x01, 0x12, 0x07, 0x10, 0x17, 0, 0
    .byte 2, 0x2e, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0, 0
    .byte 3, 0x1d, 1, 0, 0
    .byte 0

    .section .debug_info, "", @progbits
    .long units_end - units
units:
    .value 4
    .long 0
    .byte 8
    .byte 1
    .quad 1, 0x7ffffffffffffff0
    .long 0
    .byte 2
    .string "nested"
    .quad 1, 0x7ffffffffffffff0
    .fill 1000000, 1, 3
    .fill 1000002, 1, 0
units_end:

    .section .debug_line, "", @progbits
    .long lines_end - lines
lines:
    .value 4
    .long program - header
header:
    .byte 1, 1, 1, 0xfb, 14, 4, 0, 1, 0
    .byte 0
    .string "nested.c"
    .byte 0, 0, 0
    .byte 0
# An address, a line, an address, the end.
program:
    .byte 0, 9, 2
    .quad 1
    .byte 1
    .byte 0, 9, 2
    .quad 0x7ffffffffffffff0
    .byte 0, 1, 1
lines_end:

    .section .note.GNU-stack, "", @progbits
