@ How functions for Armv6-M begin and end that keep the calling convention: all registers that it protects are on the stack. Parts of
@ functions keep none.
.macro BN_PART name
        .section .text.\name, "ax", %progbits
        .p2align 2
        .global \name
        .type   \name, %function
        .thumb_func
\name:
.endm
.macro BN_FUNCTION name
        BN_PART \name
        push    {r4-r7, lr}
        mov     r4, r8
        mov     r5, r9
        mov     r6, r10
        mov     r7, r11
        push    {r4-r7}
.endm
@ Of a function that goes on behind it, as with constants. \frame: bytes between SP and what BN_FUNCTION has pushed.
.macro BN_LEAVE frame=0
.if \frame
        add     sp, #\frame
.endif
        pop     {r4-r7}
        mov     r8, r4
        mov     r9, r5
        mov     r10, r6
        mov     r11, r7
        pop     {r4-r7, pc}
.endm
.macro BN_PART_END name
        .p2align 2
        .size   \name, . - \name
.endm
.macro BN_RETURN name, frame=0
        BN_LEAVE \frame
        BN_PART_END \name
.endm
