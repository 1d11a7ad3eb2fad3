@ Inverse transform of F(4, 5): what `ops::winograd::inverse` says, for two output rows side by side, then their pool.
@
@ On the stack lie the eight points' sums as they were pushed, [M(infinity), M(0) + even of 1, even of 1, M(1), even of 1/2,
@ M(1/2), even of 2, M(2)][row 4], where even = M(+p) + M(-p), so that odd = M(+p) - M(-p) = 2 M(+p) - even:
@
@       output 0 =  M(0) +   even1 +   even2 + 8 even1/2           left  = activations of outputs 0 and 1 of both rows
@       output 1 =           odd1  + 2 odd2  + 4 odd1/2
@       output 2 =           even1 + 4 even2 + 2 even1/2           right = activations of outputs 2 and 3 of both rows
@       output 3 =  M(inf) + odd1  + 8 odd2  +   odd1/2

.set    BN_SUMS, 128                            @ bytes of the sums

@ A letter is a row. An even's register takes the odd once the even is spent.
even2_a         .req r2
even2_b         .req r3
even_half_a     .req r4
even_half_b     .req r5
even1_a         .req r6
even1_b         .req r7
left            .req r8
right           .req r9
u_a             .req r10
u_b             .req r11
table           .req lr

@ Outputs in \a and \b to activations. \shift: accumulators are 2^shift finer than the table. \lookup: LDRB or LDRSB.
.macro BN_ACTIVATE a, b, lookup, shift
        usat    \a, #10, \a, asr #\shift
        usat    \b, #10, \b, asr #\shift
        \lookup \a, [table, \a]
        \lookup \b, [table, \b]
.endm
@ Sums of four activations of rows \row and \row + 1 in left and right; row 0 comes last and frees the stack.
@ Keeps r0, r1, r12 and lr.
.macro BN_OUTPUTS row, lookup, shift
        ldrd    left, u_b, [sp, #16 + 4 * \row]
        ldrd    even2_a, even2_b, [sp, #96 + 4 * \row]
        ldrd    even_half_a, even_half_b, [sp, #64 + 4 * \row]
        add     left, left, even2_a
        add     u_b, u_b, even2_b
        add     left, left, even_half_a, lsl #3         @ output 0
        add     u_b, u_b, even_half_b, lsl #3
        BN_ACTIVATE left, u_b, \lookup, \shift
        ldrd    even1_a, even1_b, [sp, #32 + 4 * \row]
        add     left, left, u_b
        add     right, even1_a, even2_a, lsl #2
        add     u_b, even1_b, even2_b, lsl #2
        add     right, right, even_half_a, lsl #1       @ output 2
        add     u_b, u_b, even_half_b, lsl #1
        BN_ACTIVATE right, u_b, \lookup, \shift
        add     right, right, u_b
        ldrd    u_a, u_b, [sp, #112 + 4 * \row]
        rsb     even2_a, even2_a, u_a, lsl #1           @ odd of 2
        rsb     even2_b, even2_b, u_b, lsl #1
        ldrd    u_a, u_b, [sp, #80 + 4 * \row]
        rsb     even_half_a, even_half_a, u_a, lsl #1   @ odd of 1/2
        rsb     even_half_b, even_half_b, u_b, lsl #1
        ldrd    u_a, u_b, [sp, #48 + 4 * \row]
        rsb     even1_a, even1_a, u_a, lsl #1           @ odd of 1
        rsb     even1_b, even1_b, u_b, lsl #1
.if \row == 0
        ldrd    u_a, u_b, [sp], #BN_SUMS
.else
        ldrd    u_a, u_b, [sp, #4 * \row]
.endif
        add     u_a, u_a, even1_a
        add     u_b, u_b, even1_b
        add     u_a, u_a, even2_a, lsl #3
        add     u_b, u_b, even2_b, lsl #3
        add     u_a, u_a, even_half_a                   @ output 3
        add     u_b, u_b, even_half_b
        BN_ACTIVATE u_a, u_b, \lookup, \shift
        add     even1_a, even1_a, even2_a, lsl #1
        add     even1_b, even1_b, even2_b, lsl #1
        add     even1_a, even1_a, even_half_a, lsl #2   @ output 1
        add     even1_b, even1_b, even_half_b, lsl #2
        add     right, right, u_a
        add     right, right, u_b
        BN_ACTIVATE even1_a, even1_b, \lookup, \shift
        add     left, left, even1_a
        add     left, left, even1_b
.endm
