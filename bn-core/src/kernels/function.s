@ How functions begin and end that keep the calling convention: all registers that it protects are on the stack. Parts of functions
@ keep none.

@ \align: to what power of two, for functions that count addresses from whole words.
.macro BN_PART name, align=1
        .section .text.\name, "ax", %progbits
        .p2align \align
        .global \name
        .type   \name, %function
        .thumb_func
\name:
.endm
.macro BN_PART_END name, align=1
        .p2align \align
        .size   \name, . - \name
.endm

.macro BN_FUNCTION name, align=1
        BN_PART \name, \align
        push    {r4-r11, lr}
.endm
@ \frame: bytes between SP and what BN_FUNCTION has pushed.
.macro BN_RETURN name, frame, align=1
        add     sp, #\frame
        pop     {r4-r11, pc}
        BN_PART_END \name, \align
.endm
