@ A block of products for cores with the DSP extension, at two places and of two channels: 8 SMLAD of 10 instructions for 16 products.
@
@       r0   four words of codes: codes 0 and 2 at both places, codes 1 and 3 at both, two int16 a word
@       r1   four words of weights: of channel 0 those of codes 0 and 2, of 1 and 3; of channel 1 likewise
@
@ Sums lie in r4 and r5, at both places of channel 0, and in r6 and r7, of channel 1.
.set    BN_PRODUCTS_SIZE, 40                    @ bytes of a block that goes on

@ \kind: 0 goes on, 1 begins with the start values in r5 and r7, 2 begins with nothing.
.macro BN_PRODUCTS kind
        ldm     r1!, {r2, r3, r8, r9}
        ldm     r0!, {r10-r12, lr}
.if \kind == 0
        smlad   r4, r10, r2, r4
        smlad   r5, r11, r2, r5
        smlad   r6, r10, r8, r6
        smlad   r7, r11, r8, r7
.endif
.if \kind == 1
        smlad   r4, r10, r2, r5
        smlad   r5, r11, r2, r5
        smlad   r6, r10, r8, r7
        smlad   r7, r11, r8, r7
.endif
.if \kind == 2
        smuad   r4, r10, r2
        smuad   r5, r11, r2
        smuad   r6, r10, r8
        smuad   r7, r11, r8
.endif
        smlad   r4, r12, r3, r4
        smlad   r5, lr, r3, r5
        smlad   r6, r12, r9, r6
        smlad   r7, lr, r9, r7
.endm
