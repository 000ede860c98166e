"""The second factor."""

from pydantic import BaseModel, ConfigDict, Field

from little_monster.platform.http.schemas.auth import OldPassword, TotpCode
from little_monster.platform.http.schemas.texts import Body
from little_monster.platform.services.second_factor import Enrolment


class EnrolmentView(BaseModel):
    """What an authenticator application is set up with. Shown this once."""

    secret: str = Field(description="For typing, base32.", examples=["JBSWY3DPEHPK3PXP"])
    otpauth_uri: str = Field(description="For a QR code.")

    @classmethod
    def of(cls, enrolment: Enrolment) -> "EnrolmentView":
        """Show it."""
        return cls(secret=enrolment.secret, otpauth_uri=enrolment.uri)


class TotpConfirmation(Body):
    """A code that shows that the application is set up."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "287082"}]})

    code: TotpCode


class RecoveryCodesView(BaseModel):
    """What replaces the application when it is lost."""

    recovery_codes: list[str] = Field(description="Each is good for one log-in. Shown this once.")


class TotpProof(Body):
    """The password, as whoever finds an open browser does not know it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "correct horse battery staple"}]})

    password: OldPassword
