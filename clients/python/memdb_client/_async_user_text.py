"""`memdb.types.database.user_text.UserText` behind an address."""

from __future__ import annotations

from dataclasses import replace

from memdb.errors import NotFound
from memdb.text_encoder import TextEncoder, find_text_encoder
from memdb.types.arrays import Array, VectorLike
from memdb.types.checks import check_text
from memdb.types.ids import check_id
from memdb.types.operation import PutFact
from memdb.types.space import Space
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.spaces import space_from_proto
from memdb_client import _acompat as compat
from memdb_client._async_one_user import AsyncOneUser
from memdb_client._options import Repeat


class AsyncUserText(AsyncOneUser):
    """The user's text space, and what the installed encoder of it makes of texts."""

    async def configure(self, *, text_space: str) -> None:
        """Name the space in which the user's facts, utterances and questions are embedded."""
        self._text_space = None
        await self._rpc.call(
            self._rpc.users.ConfigureUser,
            user_pb.ConfigureUserRequest(
                user=self._id, text_space=check_id(text_space, "text_space")
            ),
            repeat=Repeat.UNSENT,
        )

    async def text_space(self) -> Space | None:
        """The user's text space, None when not configured."""
        answer = await self._rpc.call(
            self._rpc.users.GetUser, user_pb.GetUserRequest(user=self._id)
        )
        return space_from_proto(answer.text_space) if answer.HasField("text_space") else None

    async def _with_features(self, facts: list[PutFact]) -> list[PutFact]:
        """Facts with the features of their texts, as `_feature`, all in one go."""
        bare = [place for place, one in enumerate(facts) if one.feature is None]
        encoder = await self._encoder() if bare else None
        if encoder is None:
            return facts
        texts = [facts[place].text for place in bare]
        rows: Array = await compat.run_blocking(encoder.encode, texts)
        made = list(facts)
        for place, row in zip(bare, rows, strict=True):
            made[place] = replace(facts[place], feature=row)
        return made

    async def _feature(
        self, text: str | None, field: str, feature: VectorLike | None
    ) -> VectorLike | None:
        """``feature``, or that of ``text`` when an encoder of the text space is installed."""
        if feature is not None or text is None:
            return feature
        check_text(text, field)
        encoder = await self._encoder()
        if encoder is None:
            return None
        rows: Array = await compat.run_blocking(encoder.encode, [text])
        row: Array = rows[0]
        return row

    async def _encoder(self) -> TextEncoder | None:
        """The installed encoder of the user's text space."""
        if self._text_space is None:
            try:
                self._text_space = await self.text_space()
            except NotFound:
                # A user that its first fact will create has no settings yet.
                return None
        return find_text_encoder(self._text_space)
