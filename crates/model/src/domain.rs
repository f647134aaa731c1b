// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What operations are about. Random ones stay below the number given, and the first may be favoured, so that operations meet;
//! operations on many objects go beyond.

macro_rules! domain {
    ($($(#[$doc:meta])* $name:ident($number:ty) < $limit:literal, $first:literal more of the first;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub struct $name(pub $number);

            #[cfg(feature = "arbitrary")]
            impl<'a> arbitrary::Arbitrary<'a> for $name {
                fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
                    u.int_in_range(0..=$limit - 1).map(Self)
                }

                fn size_hint(_: usize) -> (usize, Option<usize>) {
                    (1, Some(1))
                }
            }

            #[cfg(feature = "proptest")]
            impl proptest::arbitrary::Arbitrary for $name {
                type Parameters = ();
                type Strategy = proptest::strategy::Map<core::ops::Range<$number>, fn($number) -> Self>;

                fn arbitrary_with((): ()) -> Self::Strategy {
                    let favoured = |it| Self(if it < $limit { it } else { 0 });
                    proptest::strategy::Strategy::prop_map(0..$limit + $first, favoured)
                }
            }
        )*
    };
}

domain! {
    /// A process. Its end closes all its descriptors.
    Process(u8) < 2, 2 more of the first;
    /// The name of a session.
    Name(u8) < 4, 4 more of the first;
    /// What a session calls a file.
    Token(u64) < 5, 0 more of the first;
    /// A place in which each process keeps a descriptor of a file.
    File(u8) < 3, 0 more of the first;
    /// A handler, and the kind of files it takes care of.
    Handler(u8) < 2, 0 more of the first;
    /// Data that the files of several handlers share.
    Flb(u8) < 2, 0 more of the first;
}

impl Name {
    /// How many sessions one operation can make: as many as bring a kernel that has one to the end of its first block, 51.
    pub(crate) const MANY: u8 = 50;

    /// Those of random operations.
    pub(crate) fn few() -> impl Iterator<Item = Self> {
        (0..4).map(Self)
    }

    /// Those of [`Op::CreateMany`](crate::Op::CreateMany).
    pub(crate) fn many() -> impl Iterator<Item = Self> {
        (4..4 + Self::MANY).map(Self)
    }
}

impl Token {
    /// Those of [`Op::PreserveMany`](crate::Op::PreserveMany): with one more, a block of 63 is full.
    pub(crate) fn many() -> impl Iterator<Item = Self> {
        (5..5 + 62).map(Self)
    }
}

impl File {
    /// Where operations on many files keep the one at hand.
    pub(crate) const SPARE: Self = Self(3);

    /// The size of the file, in pages.
    #[must_use]
    pub const fn nr_pages(self) -> usize {
        match self {
            Self::SPARE => 1,
            Self(index) => index as usize + 1,
        }
    }
}

impl Handler {
    /// All handlers.
    pub const ALL: [Self; 2] = [Self(0), Self(1)];

    /// The FLBs that its files depend on.
    #[must_use]
    pub const fn flbs(self) -> &'static [Flb] {
        match self {
            Self(0) => &[Flb(0)],
            Self(_) => &Flb::ALL,
        }
    }

    /// Whether it passes files that nobody has retrieved on to the next kernel.
    #[must_use]
    pub const fn passes_on(self) -> bool {
        self.0 == 0
    }
}

impl Flb {
    /// All FLBs.
    pub const ALL: [Self; 2] = [Self(0), Self(1)];

    /// Whether files of `handler` depend on it.
    pub(crate) fn is_linked_to(self, handler: Handler) -> bool {
        handler.flbs().contains(&self)
    }
}
